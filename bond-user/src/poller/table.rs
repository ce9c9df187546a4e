//! Few things with small numbers, such as slaves by slot. Going through them looks at those that are there only, which
//! every turn does several times.

use arrayvec::ArrayVec;

/// At most `N` things, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Table<T, const N: usize>(ArrayVec<(u8, T), N>);

impl<T, const N: usize> Table<T, N> {
    pub(super) fn new() -> Self {
        Self(ArrayVec::new())
    }

    /// A table of one thing.
    pub(super) fn of(number: u8, thing: T) -> Self {
        let mut table = Self::new();
        table.put(number, thing);
        table
    }

    pub(super) fn get(&self, number: u8) -> Option<&T> {
        self.0.iter().find(|(at, _)| *at == number).map(|(_, thing)| thing)
    }

    pub(super) fn get_mut(&mut self, number: u8) -> Option<&mut T> {
        self.0.iter_mut().find(|(at, _)| *at == number).map(|(_, thing)| thing)
    }

    /// Puts a thing in. Numbers are below `N`.
    pub(super) fn put(&mut self, number: u8, thing: T) {
        drop(self.take(number));
        let at = self.0.partition_point(|(other, _)| *other < number);
        self.0.insert(at, (number, thing));
    }

    pub(super) fn take(&mut self, number: u8) -> Option<T> {
        let at = self.0.iter().position(|(at, _)| *at == number)?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, &T)> {
        self.0.iter().map(|(number, thing)| (*number, thing))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u8, &mut T)> {
        self.0.iter_mut().map(|(number, thing)| (*number, thing))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, thing)| thing)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, thing)| thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_found_and_stay_in_order() {
        let mut table = Table::<char, 4>::of(2, 'c');
        table.put(0, 'a');
        table.put(3, 'd');
        table.put(1, 'x');
        table.put(1, 'b');
        assert_eq!(table.iter().collect::<Vec<_>>(), [(0, &'a'), (1, &'b'), (2, &'c'), (3, &'d')]);
        assert_eq!((table.get(2), table.get(4)), (Some(&'c'), None));
        assert_eq!((table.take(1), table.take(1), table.get_mut(1)), (Some('b'), None, None));
        table.values_mut().for_each(|thing| *thing = 'z');
        assert_eq!(table.values().collect::<String>(), "zzz");
    }
}
