//! Sentences in lines of the terminal's width, in which what people copy stays in one piece.

use anstream::adapter::strip_str;

/// Programs whose commands are in sentences.
const PROGRAMS: [&str; 5] = ["kubectl", "aws", "eksctl", "helm", "identity-mapper"];

/// A text in lines of at most `width` characters; `None`: it stays one. The first line begins with `first`, the others with `next`. Lines
/// are broken between words only, and neither in ARNs nor in commands, so a line with a long one is longer.
pub(crate) fn wrapped(text: &str, first: &str, next: &str, width: Option<usize>) -> String {
    let mut lines = String::new();
    let (mut line, mut is_empty) = (first.to_owned(), true);
    for piece in pieces(text) {
        let length = columns(&line) + usize::from(!is_empty) + columns(&piece);
        if !is_empty && width.is_some_and(|width| length > width) {
            lines += line.trim_end();
            lines.push('\n');
            next.clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += &piece;
        is_empty = false;
    }
    lines + line.trim_end() + "\n"
}

/// The characters that a terminal shows: colours take no room.
fn columns(text: &str) -> usize {
    strip_str(text).to_string().chars().count()
}

/// The words of a text, of which those of a command are one: what is in backticks, and what begins with the name of a program after a colon
/// or in parentheses.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    // What ends the command that has begun.
    let mut open: Option<Closing> = None;
    for word in text.split(' ') {
        if let Some(closing) = open {
            if let Some(piece) = pieces.last_mut() {
                piece.push(' ');
                piece.push_str(word);
            }
            open = Some(closing).filter(|it| !it.is_met(word));
            continue;
        }
        open = opened(pieces.last().map(String::as_str), word);
        pieces.push(word.to_owned());
    }
    pieces
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Backtick,
    Parenthesis,
    /// A semicolon or comma, or the end of the text.
    Clause,
}

impl Closing {
    fn is_met(self, word: &str) -> bool {
        match self {
            Self::Backtick => is_odd(word),
            Self::Parenthesis => word.contains(')'),
            Self::Clause => word.ends_with([';', ',']),
        }
    }
}

/// Whether a word opens or closes backticks.
fn is_odd(word: &str) -> bool {
    word.matches('`').count() % 2 == 1
}

/// What ends the command that a word begins; `None`: it begins none.
fn opened(before: Option<&str>, word: &str) -> Option<Closing> {
    if is_odd(word) {
        return Some(Closing::Backtick);
    }
    match word.strip_prefix('(') {
        Some(program) => PROGRAMS.contains(&program).then_some(Closing::Parenthesis),
        None => (before.is_some_and(|it| it.ends_with(':')) && PROGRAMS.contains(&word))
            .then_some(Closing::Clause),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_not_in_commands() {
        let text = "write arn:aws:iam::111122223333:role/teams/data/data-reader instead, or run `kubectl get configmap aws-auth -o yaml` \
            (kubectl edit configmap aws-auth) or: kubectl annotate x y=z; kubectl keeps the last one of two";
        assert_snapshot!(wrapped(text, "note: ", "      ", Some(40)), @"
        note: write
              arn:aws:iam::111122223333:role/teams/data/data-reader
              instead, or run
              `kubectl get configmap aws-auth -o yaml`
              (kubectl edit configmap aws-auth)
              or: kubectl annotate x y=z;
              kubectl keeps the last one of two
        ");
        assert_eq!(wrapped(text, "", "", None).trim_end(), text);
    }

    #[test]
    fn colours_take_no_room() {
        let line = |first: &str| wrapped("eight of them", first, "  ", Some(15));
        let painted = line("\u{1b}[33m~\u{1b}[0m ");
        assert_eq!(strip_str(&painted).to_string(), line("~ "));
        assert_eq!(line("~ "), "~ eight of them\n");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(words in prop::collection::vec("[a-z`(:;]{1,9}", 1..20), width in 1_usize..60) {
            let text = words.join(" ");
            let lines = wrapped(&text, "", "", Some(width));
            prop_assert_eq!(lines.replace('\n', " ").trim_end().to_owned(), text);
        }
    }
}
