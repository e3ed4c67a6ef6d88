//! Letters of other alphabets that look like those of names and ARNs.

use super::defect::{Defect, DefectKind};
use super::normal::DraftLine;
use super::{field_name, is_field};

/// Letters that look alike in most fonts: the other one, and the one of ASCII (Unicode technical standard 39, *confusables*).
const ALIKE: [(char, char, &str); 30] = [
    ('\u{430}', 'a', "the Latin letter `a`"),
    ('\u{435}', 'e', "the Latin letter `e`"),
    ('\u{43e}', 'o', "the Latin letter `o`"),
    ('\u{440}', 'p', "the Latin letter `p`"),
    ('\u{441}', 'c', "the Latin letter `c`"),
    ('\u{443}', 'y', "the Latin letter `y`"),
    ('\u{445}', 'x', "the Latin letter `x`"),
    ('\u{455}', 's', "the Latin letter `s`"),
    ('\u{456}', 'i', "the Latin letter `i`"),
    ('\u{458}', 'j', "the Latin letter `j`"),
    ('\u{4bb}', 'h', "the Latin letter `h`"),
    ('\u{501}', 'd', "the Latin letter `d`"),
    ('\u{51b}', 'q', "the Latin letter `q`"),
    ('\u{51d}', 'w', "the Latin letter `w`"),
    ('\u{3bf}', 'o', "the Latin letter `o`"),
    ('\u{3b1}', 'a', "the Latin letter `a`"),
    ('\u{3bd}', 'v', "the Latin letter `v`"),
    ('\u{3c1}', 'p', "the Latin letter `p`"),
    ('\u{3b9}', 'i', "the Latin letter `i`"),
    ('\u{131}', 'i', "the Latin letter `i`"),
    ('\u{261}', 'g', "the Latin letter `g`"),
    ('\u{410}', 'A', "the Latin letter `A`"),
    ('\u{412}', 'B', "the Latin letter `B`"),
    ('\u{415}', 'E', "the Latin letter `E`"),
    ('\u{41c}', 'M', "the Latin letter `M`"),
    ('\u{41e}', 'O', "the Latin letter `O`"),
    ('\u{420}', 'P', "the Latin letter `P`"),
    ('\u{421}', 'C', "the Latin letter `C`"),
    ('\u{422}', 'T', "the Latin letter `T`"),
    ('\u{425}', 'X', "the Latin letter `X`"),
];

/// The character of ASCII that another one looks like.
fn alike(c: char) -> Option<(char, &'static str)> {
    let wide = u32::from(c);
    if (0xff10..=0xff5a).contains(&wide) {
        let narrow = char::from_u32(wide - 0xfee0).filter(char::is_ascii_alphanumeric)?;
        return Some((narrow, "the character of ordinary width"));
    }
    let found = ALIKE.iter().find(|(other, ..)| *other == c);
    found.map(|(_, letter, name)| (*letter, *name))
}

/// A name as a reader sees it: without characters that can't be seen, and with the letters of ASCII for those that look like them.
pub(crate) fn as_seen(name: &str) -> String {
    let is_invisible = |c: char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let seen: String = name.trim().chars().filter(|c| !is_invisible(*c)).collect();
    in_ascii(&seen).unwrap_or(seen)
}

/// A name in ASCII, where letters of other alphabets in it look like it.
fn in_ascii(name: &str) -> Option<String> {
    if name.is_ascii() {
        return None;
    }
    let letter = |c: char| {
        if c.is_ascii() {
            Some(c)
        } else {
            alike(c).map(|(letter, _)| letter)
        }
    };
    name.chars().map(letter).collect()
}

/// Whether a word has to be ASCII: an ARN, a field, or a name that Kubernetes and EKS know.
fn is_ascii_word(word: &str) -> bool {
    let field = word.strip_suffix(':').unwrap_or(word);
    word.starts_with("arn:")
        || word.starts_with("system:")
        || word.starts_with("eks:")
        || (word.ends_with(':') && is_field(&field_name(field)))
}

/// Puts the letters of ASCII in place of those that look like them, in words that have no others.
pub(super) fn letters(lines: &mut [DraftLine], defects: &mut Vec<Defect>) {
    let mut found: Option<(Defect, usize)> = None;
    for line in lines.iter_mut() {
        if line.text.is_ascii() || line.is_blank() {
            continue;
        }
        let mut text = String::with_capacity(line.text.len());
        let is_between = |c: char| c.is_whitespace() || "\"'[]{},".contains(c);
        for word in line.text.split_inclusive(is_between) {
            let bare = word.trim_end_matches(is_between);
            let Some(ascii) = in_ascii(bare).filter(|ascii| is_ascii_word(ascii)) else {
                text += word;
                continue;
            };
            let mut others = bare.chars().filter(|c| !c.is_ascii());
            let count = others.clone().count();
            if let Some(character) = others.next() {
                let instead = alike(character).map_or("", |(_, name)| name);
                let (defect, total) = found.get_or_insert_with(|| {
                    let kind = DefectKind::Lookalike {
                        name: "character that looks like another",
                        character,
                        count: 0,
                        instead,
                    };
                    let at = bare.find(character).unwrap_or_default();
                    (Defect::new(kind, line.origin, &bare[at..]), 0)
                });
                *total += count;
                defect.through = line.origin;
                if let DefectKind::Lookalike { instead: first, .. } = &mut defect.kind
                    && bare
                        .chars()
                        .filter_map(alike)
                        .any(|(_, name)| name != *first)
                {
                    *first = "the character of ASCII, as shown";
                }
            }
            text += &ascii;
            text += &word[bare.len()..];
        }
        line.text = text;
    }
    if let Some((mut defect, total)) = found {
        if let DefectKind::Lookalike { count, .. } = &mut defect.kind {
            *count = total;
        }
        defects.push(defect);
    }
}
