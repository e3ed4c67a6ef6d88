//! The only writer to standard output and standard error.
//!
//! Colours are kept on a terminal and taken out elsewhere, also where `NO_COLOR` is set (<https://no-color.org>). A reader that has gone
//! away (`| head`) is no error: the rest of what we had to say is not wanted.

use std::borrow::Cow;
use std::fmt::Write as _;
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
    print_exactly(&harmless(text))
}

/// Prints a text that belongs to the caller, byte by byte: what came in by standard input and goes out again.
pub(crate) fn print_exactly(text: &str) -> Result<()> {
    write(anstream::stdout().lock(), text).context("cannot write to standard output")
}

tokio::task_local! {
    /// The cluster that is being read, where there are several.
    static CLUSTER: String;
}

/// Runs what concerns one of several clusters: what it says on standard error begins with the cluster's name.
pub(crate) async fn of_cluster<T>(cluster: String, reading: impl Future<Output = T>) -> T {
    CLUSTER.scope(cluster, reading).await
}

/// The same for what does not wait.
pub(crate) fn of_cluster_now<T>(cluster: &str, judging: impl FnOnce() -> T) -> T {
    CLUSTER.sync_scope(cluster.to_owned(), judging)
}

/// An error with its causes. A cause that the text before it has said already is left out.
pub(crate) fn error(error: &anyhow::Error) -> String {
    let mut said = "error".to_owned();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !said.ends_with(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// Writes a line to standard error. There is nowhere to report that this went wrong.
pub(crate) fn complain(line: &str) {
    let cluster = CLUSTER.try_with(|cluster| format!("{cluster}: "));
    let cluster = cluster.unwrap_or_default();
    let line = format!("{}{}\n", harmless(&cluster), harmless(line.trim_end()));
    let _ = write(anstream::stderr().lock(), &line);
}

fn write(mut to: impl Write, text: &str) -> io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A text in which nothing is hidden but line ends, tabs and colours: texts of others are in most of what we print, in words of the API
/// server and of AWS too.
fn harmless(text: &str) -> Cow<'_, str> {
    if !hides(text) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\x1b' => colour_length(rest),
            _ => 0,
        };
        if length > 0 {
            shown += &rest[..length];
            rest = &rest[length..];
            continue;
        }
        if is_hidden(c) && !matches!(c, '\n' | '\t') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(shown)
}

/// The bytes of the colour that a text begins with: `ESC [ 1;31 m` (ECMA-48, *Select Graphic Rendition*); 0 for anything else.
fn colour_length(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else {
        return 0;
    };
    let digits = parameters.find(|c: char| !c.is_ascii_digit() && c != ';');
    match digits {
        Some(end) if parameters[end..].starts_with('m') => "\x1b[".len() + end + 1,
        _ => 0,
    }
}

/// A value as one JSON document.
pub(crate) fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    if !hides(&text) {
        return Ok(text);
    }
    // Outside of strings a document has no such character, and in strings JSON has escapes of UTF-16.
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Ok(shown)
}

/// A value as one YAML document, in which every text that YAML 1.1 would take for something else is quoted.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String> {
    let text = serde_saphyr::to_string(value)?;
    if hides(&text) {
        // JSON is YAML in which every string can have escapes.
        return json(value);
    }
    Ok(text)
}

/// Whether a character is not seen, moves the cursor, or moves what follows to another place: controls, and all of Unicode's format
/// characters (general category Cf) that text in ARNs, names and groups does not need.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}'
        )
}

/// Whether a text of lines has hidden characters.
pub(crate) fn hides(text: &str) -> bool {
    text.contains(|c| is_hidden(c) && c != '\n')
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

/// How far something has got that takes long: a bar on a terminal, a line now and then elsewhere. Always on standard error.
pub(crate) struct Progress {
    what: String,
    bar: Option<ProgressBar>,
    told: Instant,
    /// Whether a line was printed, so that the last one is printed too.
    begun: bool,
    /// Whether nothing is shown: of several clusters, only how many were read.
    silent: bool,
}

impl Progress {
    /// Begins; nothing is shown before the first [`Progress::set`].
    pub(crate) fn new(what: impl Into<String>) -> Self {
        let what = what.into();
        let silent = CLUSTER.try_with(|_| ()).is_ok();
        let bar = (!silent && io::stderr().is_terminal()).then(|| {
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
            begun: false,
            silent,
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
        if self.silent {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        } else if (self.told.elapsed() >= TELL && done < total) || (self.begun && done == total) {
            self.told = Instant::now();
            self.begun = done < total;
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
        write(
            anstream::stdout().lock(),
            &harmless(&String::from_utf8_lossy(bytes)),
        )?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind, among them a C1 control that some terminals obey, and a tag character beyond the first plane.
    const HIDDEN: &str = "a\u{7}b\u{7f}c\u{9b}d\u{202e}e\u{200b}f\u{2066}g\u{e0041}h\rj";

    #[test]
    fn hidden_characters_are_visible_in_every_form() {
        assert_eq!(
            harmless(&format!("{}\t{}\n", paint(Colour::Red, "x"), HIDDEN)),
            "\x1b[31mx\x1b[0m\ta\\u{7}b\\u{7f}c\\u{9b}d\\u{202e}e\\u{200b}f\\u{2066}g\\u{e0041}h\\rj\n"
        );
        for not_a_colour in ["\x1b[2J", "\x1b]0;title\x07", "\x1b[31", "\x1b", "\x1bm"] {
            assert!(!harmless(not_a_colour).contains('\x1b'), "{not_a_colour:?}");
        }
        for text in [HIDDEN, "plain", "line\nline"] {
            for written in [json(&[text]), yaml(&[text])] {
                let written = written.expect("written");
                assert!(!hides(&written), "{written:?}");
                let read: Vec<String> = serde_saphyr::from_str(&written).expect("YAML");
                assert_eq!(read, [text]);
            }
            let read: Vec<String> =
                serde_json::from_str(&json(&[text]).expect("written")).expect("JSON");
            assert_eq!(read, [text]);
        }
        assert!(!visible(HIDDEN).contains(is_hidden));
    }
}
