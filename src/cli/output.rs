//! The only writer to standard output and standard error.
//!
//! Colours are kept on a terminal and taken out elsewhere, also where `NO_COLOR` is set (<https://no-color.org>). A reader that has gone
//! away (`| head`) is no error: the rest of what we had to say is not wanted.

use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Without a terminal, progress is printed at this interval.
const TELL: Duration = Duration::from_secs(3);

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Human-readable
    #[default]
    #[value(alias = "table")]
    Text,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
}

pub(crate) fn print(text: &str) -> Result<()> {
    write(anstream::stdout().lock(), text).context("cannot write to standard output")
}

/// Writes a line to standard error. There is nowhere to report that this went wrong.
pub(crate) fn complain(line: &str) {
    let _ = write(anstream::stderr().lock(), &format!("{}\n", line.trim_end()));
}

fn write(mut to: impl Write, text: &str) -> io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A value as one JSON document.
pub(crate) fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// A value as one YAML document, in which every text that YAML 1.1 would take for something else is quoted.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String> {
    Ok(serde_saphyr::to_string(value)?)
}

/// Whether a character moves the cursor, or what is shown after it to another place: nobody would see what is written.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// A value on one line: what would move the cursor is shown as an escape, an empty value as such.
pub(crate) fn visible(value: &str) -> String {
    if value.is_empty() {
        return "\"\"".to_owned();
    }
    value
        .chars()
        .map(|c| {
            if is_hidden(c) {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

/// A colour for a text. [`print()`] and [`complain`] take it out where it is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// What comes, or is well.
    Green,
    /// What goes, or is wrong.
    Red,
    /// What changes, or wants to be looked at.
    Yellow,
    /// Where in a text one is.
    Cyan,
    Bold,
}

/// The text in a colour.
pub(crate) fn paint(colour: Colour, text: &str) -> String {
    let code = match colour {
        Colour::Green => 32,
        Colour::Red => 31,
        Colour::Yellow => 33,
        Colour::Cyan => 36,
        Colour::Bold => 1,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Rows in columns, as kubectl prints them: a header, two spaces between, nothing at the ends of lines.
pub(crate) fn columns<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    table.add_rows(rows);
    // The table pads every cell, also the first and the last.
    table
        .lines()
        .map(|line| line.trim().to_owned() + "\n")
        .collect()
}

/// How far something has got that takes long: a bar on a terminal, a line now and then elsewhere. Always on standard error.
pub(crate) struct Progress {
    what: String,
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Progress {
    /// Begins; nothing is shown before the first [`Progress::set`].
    pub(crate) fn new(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}");
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar.set_message(what.clone());
            bar
        });
        Self {
            what,
            bar,
            told: Instant::now(),
        }
    }

    /// Whether it is shown on a terminal.
    pub(crate) fn is_bar(&self) -> bool {
        self.bar.is_some()
    }

    /// So many are done of so many, and what there is to say of it: behind the bar, or as a line of its own.
    pub(crate) fn tell(&mut self, done: usize, total: usize, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
            self.set(done, total);
        } else {
            complain(what);
        }
    }

    /// So many are done of so many.
    pub(crate) fn set(&mut self, done: usize, total: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        } else if self.told.elapsed() >= TELL && done < total {
            self.told = Instant::now();
            complain(&format!("{}: {done} of {total}", self.what));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Standard output for what writes piece by piece.
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(anstream::stdout().lock(), &String::from_utf8_lossy(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
