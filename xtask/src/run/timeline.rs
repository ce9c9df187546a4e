//! What happened when, for people.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    time::Instant,
};

/// How a line is meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tone {
    Plain,
    Action,
    Good,
    Bad,
}

/// Lines with the time since the start, on standard output.
#[derive(Debug)]
pub(super) struct Timeline {
    start: Instant,
    silent: bool,
    colours: bool,
}

impl Timeline {
    /// A `silent` one prints nothing.
    pub(super) fn new(silent: bool) -> Self {
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { start: Instant::now(), silent, colours: io::stdout().is_terminal() && !no_color }
    }

    /// A line about what happened just now.
    pub(super) fn now(&self, tone: Tone, text: impl Display) {
        self.at(Instant::now(), tone, text);
    }

    /// A line about what happened at `time`.
    pub(super) fn at(&self, time: Instant, tone: Tone, text: impl Display) {
        let seconds = time.saturating_duration_since(self.start).as_secs_f64();
        self.line(format_args!(
            "{}  {}",
            self.paint("2", format!("{seconds:8.3} s")),
            self.tone(tone, text)
        ));
    }

    /// A line without time.
    pub(super) fn line(&self, text: impl Display) {
        if !self.silent {
            // Nobody reads any more: the lab goes on to its end all the same.
            let _ = writeln!(io::stdout(), "{text}");
        }
    }

    /// `text` in the colour of `tone`.
    pub(super) fn tone(&self, tone: Tone, text: impl Display) -> String {
        match tone {
            Tone::Plain => text.to_string(),
            Tone::Action => self.paint("33", text),
            Tone::Good => self.paint("32", text),
            Tone::Bad => self.paint("31", text),
        }
    }

    /// `text` with the attributes `code` (ECMA-48 SGR).
    fn paint(&self, code: &str, text: impl Display) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}
