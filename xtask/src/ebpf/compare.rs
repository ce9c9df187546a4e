//! Comparing two objects by what a loader takes from them, which leaves debug information out.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionFlags, elf,
    read::elf::ElfFile64,
};

type Elf<'data> = ElfFile64<'data, object::LittleEndian>;

/// What a loader takes from an object.
struct Contents {
    /// Bytes of the programs, the licence and the maps' placeholders, by section.
    sections: BTreeMap<String, Vec<u8>>,
    /// One line each: symbols, relocations in those sections, the maps as BTF defines them.
    facts: BTreeSet<String>,
}

/// One line a difference between the object in the tree and the one just built.
pub(super) fn differences(checked_in: &[u8], built: &[u8]) -> Result<Vec<String>> {
    let ours = Contents::read(checked_in).context("the checked-in object")?;
    let theirs = Contents::read(built).context("the built object")?;

    let mut lines = Vec::new();
    let names: BTreeSet<_> = ours.sections.keys().chain(theirs.sections.keys()).collect();
    for name in names {
        let (ours, theirs) = (ours.sections.get(name), theirs.sections.get(name));
        if ours != theirs {
            let [ours, theirs] = [ours, theirs].map(|bytes| bytes.map_or(0, Vec::len));
            lines.push(format!("section {name}: other bytes ({ours} checked in, {theirs} built)"));
        }
    }
    lines.extend(
        ours.facts.difference(&theirs.facts).map(|fact| format!("only checked in: {fact}")),
    );
    lines.extend(theirs.facts.difference(&ours.facts).map(|fact| format!("only built: {fact}")));
    Ok(lines)
}

impl Contents {
    fn read(bytes: &[u8]) -> Result<Self> {
        let file = Elf::parse(bytes)?;
        let mut sections = BTreeMap::new();
        let mut facts = map_definitions(bytes)?;
        facts.extend(symbols(&file)?);
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags } = section.flags() else {
                continue;
            };
            if sh_flags & u64::from(elf::SHF_ALLOC) == 0 {
                continue;
            }
            let name = section.name()?;
            sections.insert(name.to_owned(), section.data()?.to_owned());
            for (offset, relocation) in section.relocations() {
                let target = match relocation.target() {
                    RelocationTarget::Symbol(index) => file.symbol_by_index(index)?.name()?,
                    other => &format!("{other:?}"),
                };
                let kind = relocation.flags();
                facts.insert(format!("relocation at {name}+{offset:#x} to {target}, {kind:?}"));
            }
        }
        Ok(Self { sections, facts })
    }
}

/// Programs, functions and maps: where they are.
fn symbols(file: &Elf<'_>) -> Result<Vec<String>> {
    let globals = file.symbols().filter(|symbol| symbol.is_global());
    globals
        .map(|symbol| {
            let section = match symbol.section_index() {
                Some(index) => file.section_by_index(index)?.name()?,
                None => "none",
            };
            let (name, address, size) = (symbol.name()?, symbol.address(), symbol.size());
            Ok(format!("symbol {name} at {section}+{address:#x}, {size} bytes"))
        })
        .collect()
}

/// The maps, as aya reads them from BTF.
fn map_definitions(bytes: &[u8]) -> Result<BTreeSet<String>> {
    let object = aya_obj::Object::parse(bytes)?;
    let definition = |(name, map): (&String, &aya_obj::Map)| {
        format!(
            "map {name}: type {}, key {} bytes, value {} bytes, {} entries, flags {:#x}",
            map.map_type(),
            map.key_size(),
            map.value_size(),
            map.max_entries(),
            map.map_flags()
        )
    };
    Ok(object.maps.iter().map(definition).collect())
}

/// Whether `needle` occurs in `bytes`.
pub(super) fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use bond_ebpf::OBJECT;

    use super::*;

    #[test]
    fn object_is_itself() {
        assert_eq!(differences(OBJECT, OBJECT).unwrap(), [""; 0]);
    }

    #[test]
    fn one_bit_of_a_program_is_a_difference() {
        let file = Elf::parse(OBJECT).unwrap();
        let section = file.section_by_name("xdp").unwrap();
        let (offset, size) = section.file_range().unwrap();
        let mut other = OBJECT.to_owned();
        other[usize::try_from(offset).unwrap() + 1] ^= 1;
        let expected = format!("section xdp: other bytes ({size} checked in, {size} built)");
        assert_eq!(differences(OBJECT, &other).unwrap(), [expected]);
    }

    #[test]
    fn maps_are_read_as_the_layout_says() {
        let expected = [
            "map COUNTERS: type 6, key 4 bytes, value 16 bytes, 5 entries, flags 0x0",
            "map SLAVE: type 2, key 4 bytes, value 4 bytes, 1 entries, flags 0x0",
            "map XSKS: type 17, key 4 bytes, value 4 bytes, 64 entries, flags 0x0",
        ];
        let maps = map_definitions(OBJECT).unwrap();
        assert_eq!(maps.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn another_map_name_is_a_difference() {
        let mut other = OBJECT.to_owned();
        for at in 0..OBJECT.len() {
            if OBJECT[at..].starts_with(b"\0SLAVE\0") {
                other[at + 1] = b'B';
            }
        }
        let lines = differences(OBJECT, &other).unwrap();
        let of_maps: Vec<_> = lines.iter().filter(|line| line.contains(": map ")).collect();
        let map = "type 2, key 4 bytes, value 4 bytes, 1 entries, flags 0x0";
        assert_eq!(
            of_maps,
            [
                &format!("only checked in: map SLAVE: {map}"),
                &format!("only built: map BLAVE: {map}")
            ]
        );
    }
}
