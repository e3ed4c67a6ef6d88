//! What the demo prints: plain text, coloured only on a terminal (`anstream` honours `NO_COLOR`).

use std::time::Duration;

use anstream::println;
use similar::{ChangeTag, TextDiff};

/// Longer lines are broken between words.
const WIDTH: usize = 100;
const INDENT: &str = "    ";

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

/// What this is.
pub(crate) fn headline(text: &str) {
    println!("{BOLD}{text}{RESET}");
}

/// A numbered title, and one sentence of what happens.
pub(crate) fn step(number: usize, title: &str, what: &str) {
    println!("\n{BOLD}{number:>2}  {title}{RESET}");
    wrapped("", INDENT, what);
}

/// An empty line.
pub(crate) fn gap() {
    println!();
}

/// A sentence without a step.
pub(crate) fn text(text: &str) {
    wrapped("", "", text);
}

/// A command as one would type it.
pub(crate) fn command(words: &str) {
    println!("\n{INDENT}{CYAN}$ {words}{RESET}");
}

/// What a command printed, line by line: it may be a table.
pub(crate) fn output(text: &str) {
    text.lines().for_each(|line| println!("{INDENT}{line}"));
}

/// A sentence that a command printed.
pub(crate) fn sentence(text: &str) {
    wrapped("", INDENT, text);
}

/// A text, such as a file that is about to be applied.
pub(crate) fn file(title: &str, text: &str) {
    heading(title);
    for line in text.lines() {
        println!("{INDENT}{DIM}│{RESET} {line}");
    }
}

/// How a text changed, as a unified diff with two lines around each change.
pub(crate) fn diff(title: &str, before: &str, after: &str) {
    heading(title);
    if before == after {
        println!("{INDENT}{DIM}  no difference{RESET}");
    }
    let diff = TextDiff::from_lines(before, after);
    for (number, group) in diff.grouped_ops(2).iter().enumerate() {
        if number > 0 {
            println!("{INDENT}{DIM}  ⋯{RESET}");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = change.value().trim_end_matches('\n');
            match change.tag() {
                ChangeTag::Equal => println!("{INDENT}{DIM}  {line}{RESET}"),
                ChangeTag::Delete => println!("{INDENT}{RED}- {line}{RESET}"),
                ChangeTag::Insert => println!("{INDENT}{GREEN}+ {line}{RESET}"),
            }
        }
    }
}

/// A condition or an event, and its sentence.
pub(crate) fn says(label: &str, sentence: &str) {
    println!("\n{INDENT}{YELLOW}{label}{RESET}");
    wrapped("", &format!("{INDENT}  "), sentence);
}

/// Something that came out as expected.
pub(crate) fn done(text: &str) {
    println!();
    wrapped(&format!("{GREEN}✓{RESET} "), INDENT, text);
}

/// Something that did not.
pub(crate) fn failed(text: &str) {
    println!();
    for line in text.lines() {
        println!("{INDENT}{RED}✗ {line}{RESET}");
    }
}

fn heading(title: &str) {
    println!("\n{INDENT}{DIM}{title}{RESET}");
}

/// A text broken between words, its further lines indented as the first after its label.
fn wrapped(label: &str, indent: &str, text: &str) {
    let hanging = if label.is_empty() { "" } else { "  " };
    let mut line = format!("{indent}{label}");
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count() + 1;
        if width > 0 && width + length > WIDTH {
            println!("{}", line.trim_end());
            line = format!("{indent}{hanging}");
            width = 0;
        }
        line.push_str(word);
        line.push(' ');
        width += length;
    }
    println!("{}", line.trim_end());
}

/// A duration as people say it.
pub(crate) fn spoken(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "less than 1 ms".to_owned(),
        milliseconds @ 1..1000 => format!("{milliseconds} ms"),
        milliseconds => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
    }
}
