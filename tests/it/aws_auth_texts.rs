//! Texts of `aws-auth` to try the reader and the editor on: generated and mutated, the same for the same seed.

use std::fmt::Write;

/// A small generator of pseudo-random numbers (xorshift64*): tests need the same texts everywhere, not good randomness.
pub(crate) struct Random {
    state: u64,
    /// How many values in a hundred are awkward.
    wild: usize,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            wild: 10,
        }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from((self.next() >> 33) % u64::try_from(bound.max(1)).expect("usize fits u64"))
            .expect("below bound")
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const WORDS: &[&str] = &[
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "true",
    "False",
    "null",
    "~",
    "",
    "1e3",
    "0x1F",
    "0o17",
    "0b11",
    "0b-1",
    "1_000",
    "012",
    "08",
    "12:30:45",
    "2020-01-01",
    "2020-1-1 1:2:3",
    ".inf",
    "-.INF",
    ".nan",
    ".5",
    ".5_0",
    "._5",
    "+1",
    "-0",
    "1.0",
    "1.",
    "<<",
    "=",
    "- a",
    "? a",
    ": a",
    "a: b",
    "a : b",
    "a #b",
    "#a",
    "@a",
    "`a`",
    "%a",
    "!a",
    "!!str 1",
    "!!int 1",
    "!!float 1",
    "!!bool yes",
    "!!null ~",
    "!!binary aGk=",
    "!!binary ////",
    "!!binary a",
    "!!timestamp 2020-01-01",
    "!!timestamp 2020-02-30",
    "!!merge a",
    "!<tag:yaml.org,2002:str> 5",
    "!<!> 5",
    "! 5",
    "!h!x 5",
    "!%41 a",
    "!!str",
    "&a b",
    "*a",
    "*b",
    "&a",
    "& a",
    "|",
    ">-",
    "|+",
    "|2",
    "[a, b]",
    "[a",
    "a]",
    "{a: b}",
    "{a",
    "[]",
    "{}",
    "[a: b]",
    "{a, b}",
    "[? a : b]",
    "[?]",
    "[a?b]",
    "{? a}",
    "[a, ]",
    "[,]",
    "\"a\"",
    "'a'",
    "\"a\\nb\"",
    "\"\\/\"",
    "\"\\x41\\u00e9\\U0001F600\"",
    "\"\\xZ\"",
    "\"\\ud800\"",
    "'it''s'",
    "\"a",
    "'a",
    "system:masters",
    "system:node:{{EC2PrivateDNSName}}",
    "{{SessionName}}",
    "\"{{SessionName}}\"",
    "admin:{{SessionName}}",
    "18446744073709551615",
    "9223372036854775808",
    "-9223372036854775809",
    "1e400",
    "0.1e-400",
    "é",
    "\u{2028}",
    "a\u{85}b",
    "\u{feff}",
    "\u{7f}",
    "\u{1}",
    "😀",
    "a\tb",
    "\t",
    "--- a",
    "...",
    "---",
    "[[a]]",
    "- - a",
    "-",
    "?",
    ":",
    "a:",
    ":a",
    "::",
    "a::b",
    "http://x",
    "\"a\": b",
    "'a':b",
    "[a]: b",
    "[]: b",
    "{}: b",
    "[]<<: b",
];

const KEYS: &[&str] = &[
    "rolearn",
    "rolearn",
    "rolearn",
    "userarn",
    "userarn",
    "username",
    "username",
    "groups",
    "groups",
    "RoleARN",
    "Username",
    "GROUPS",
    "Groups",
    "u\u{17f}ername",
    "sso",
    "SSO",
    "userid",
    "permissionSetName",
    "accountID",
    "accountid",
    "partition",
    "<<",
    "note",
    "\"rolearn\"",
    "'groups'",
    "? rolearn",
    "!!str username",
    "1",
    "~",
    "true",
    "&k rolearn",
    "*a",
    "!!binary cm9sZWFybg==",
    "\"role\\x61rn\"",
    "[]",
    "{}",
];

const ARNS: &[&str] = &[
    "arn:aws:iam::111122223333:role/a",
    "arn:aws:iam::111122223333:role/A",
    "arn:aws:iam::111122223333:role/b",
    "\"arn:aws:iam::111122223333:role/c\"",
    "'arn:aws:iam::111122223333:role/d'",
    "arn:aws:iam::111122223333:user/div/e",
    "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef",
    "111122223333",
    "\"111122223333\"",
    "Admin",
    "aws-cn",
];

const SPECIALS: &[&str] = &[
    "-",
    "- ",
    "?",
    "? ",
    ":",
    ": ",
    ",",
    "[",
    "]",
    "{",
    "}",
    "#",
    " #",
    "&",
    "&a ",
    "*",
    "*a",
    "!",
    "!!str ",
    "|",
    ">",
    "|-\n",
    "'",
    "\"",
    "%",
    "@",
    "`",
    "\\",
    "\n",
    "\r",
    "\r\n",
    "\t",
    " ",
    "  ",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{feff}",
    "\u{a0}",
    "\u{0}",
    "\u{7f}",
    "---\n",
    "\n---\n",
    "\n...\n",
    "\n--- ",
    "<<: *a\n",
    "<<",
    "~",
    "é",
    "😀",
    "0",
    "1",
    "x",
    "=",
    "\n\n",
    "\n  ",
    "\n- ",
    "%YAML 1.1\n---\n",
    "%YAML 1.2\n---\n",
    "%TAG !h! tag:yaml.org,2002:\n---\n",
    "%X\n",
    "[]",
    "{}",
    "[]: ",
    "{}: ",
    "\n# c\n",
    "\\/",
    "\\n",
    "\\\n",
    "''",
];

/// One value: mostly a tame one, so that many texts stay legal.
fn value(random: &mut Random, depth: usize) -> String {
    if random.chance(random.wild) {
        return random.pick(WORDS).to_owned();
    }
    match random.below(16) {
        0..=8 => random.pick(ARNS).to_owned(),
        9 if depth < 3 => {
            let items: Vec<String> = (0..random.below(4))
                .map(|_| value(random, depth + 1))
                .collect();
            format!(
                "[{}]",
                items.join(random.pick(&[", ", ",", ",\n      ", " , "]))
            )
        }
        10 if depth < 3 => {
            let pairs: Vec<String> = (0..random.below(3))
                .map(|_| format!("{}: {}", random.pick(KEYS), value(random, depth + 1)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        _ => format!(
            "\"{}\"",
            random.pick(&["g", "a b", "x:{{SessionName}}", "\\t", ""])
        ),
    }
}

/// An entry in block style, its lines indented by `indent` but for the first.
fn block_entry(random: &mut Random, indent: &str) -> String {
    let mut out = String::new();
    if random.chance(random.wild) {
        let _ = write!(
            out,
            "{} ",
            random.pick(&["&a", "&b", "!!map", "*a", "# c\n", "!x", "&a\n  "])
        );
    }
    for i in 0..=random.below(5) {
        if i > 0 {
            out.push_str(indent);
        }
        let tame = ["username", "groups", "note", "userarn"];
        let key = match (i, random.chance(100 - random.wild)) {
            (0, true) => "rolearn",
            (_, true) => tame[random.below(tame.len())],
            (_, false) => random.pick(KEYS),
        };
        let _ = match random.below(10) {
            0 => writeln!(out, "{key}:"),
            1 | 2 => {
                let dash = random.pick(&["- ", "  - ", "-   ", "    -\n      "]);
                let _ = writeln!(out, "{key}:");
                for _ in 0..random.below(4) {
                    let _ = writeln!(out, "{indent}{dash}{}", value(random, 1));
                }
                Ok(())
            }
            3 => writeln!(
                out,
                "{key}: {}\n{indent}  text\n\n{indent}   more",
                random.pick(&["|", ">", "|-", ">+", "|2", ""])
            ),
            4 => writeln!(out, "{key}: {}   # comment", value(random, 0)),
            _ => writeln!(
                out,
                "{key}:{}{}",
                random.pick(&[" ", " ", " ", " ", " ", "  ", "\n     ", "", "\t"]),
                value(random, 0)
            ),
        };
    }
    out
}

/// A text that is close to a section of `aws-auth`.
pub(crate) fn generate(random: &mut Random) -> String {
    random.wild = [0, 1, 3, 10][random.below(4)];
    let mut out = String::new();
    if random.chance(10) {
        out.push_str(random.pick(&[
            "---\n",
            "# head\n",
            "\n",
            "\u{feff}",
            "--- # x\n",
            "%YAML 1.1\n---\n",
            "   ",
            "--- &r\n",
        ]));
    }
    if random.chance(15) {
        let items: Vec<String> = (0..random.below(4)).map(|_| value(random, 0)).collect();
        let _ = write!(
            out,
            "[{}]",
            items.join(random.pick(&[", ", ",\n", ",\n  # c\n "]))
        );
        return out;
    }
    let root = if random.chance(random.wild) {
        "\t"
    } else {
        random.pick(&["", "", "", "  ", " "])
    };
    for _ in 0..=random.below(4) {
        if random.chance(10) {
            let _ = writeln!(
                out,
                "{root}{}",
                random.pick(&[
                    "# note",
                    "",
                    "   # deep",
                    "- *a",
                    "-",
                    "- ~",
                    "- text",
                    "- <<: *a"
                ])
            );
        }
        let _ = match random.below(12) {
            0 => writeln!(out, "{root}- {}", value(random, 0)),
            1 => write!(
                out,
                "{root}-\n{root}    {}",
                block_entry(random, &format!("{root}    "))
            ),
            2 => write!(
                out,
                "{root}- - {}",
                block_entry(random, &format!("{root}    "))
            ),
            3 => write!(
                out,
                "{root}-   {}",
                block_entry(random, &format!("{root}    "))
            ),
            _ => write!(out, "{root}- {}", block_entry(random, &format!("{root}  "))),
        };
    }
    if random.chance(10) {
        out.push_str(random.pick(&[
            "---\n- x\n",
            "...\n",
            "...\nfoo: [\n",
            "# end",
            "\n\n\n",
            "  ",
            "x",
        ]));
    }
    out
}

fn boundary(random: &mut Random, text: &str) -> usize {
    let mut at = random.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Changes a text a little.
pub(crate) fn mutate(random: &mut Random, text: &str, others: &[String]) -> String {
    let mut text = text.to_owned();
    for _ in 0..=random.below(3) {
        let at = boundary(random, &text);
        match random.below(20) {
            0..=2 => {
                let end = (at..=text.len())
                    .filter(|i| text.is_char_boundary(*i))
                    .nth(1 + random.below(3))
                    .unwrap_or(text.len());
                text.replace_range(at..end, "");
            }
            3..=7 => text.insert_str(at, random.pick(SPECIALS)),
            8 => text.insert_str(at, random.pick(WORDS)),
            9 | 10 => reindent(random, &mut text),
            11 => {
                let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
                let (a, b) = (
                    random.below(lines.len().max(1)),
                    random.below(lines.len().max(1)),
                );
                if !lines.is_empty() {
                    if random.chance(50) {
                        lines.swap(a, b);
                    } else {
                        lines.insert(a, lines[b]);
                    }
                }
                text = lines.concat();
            }
            12 => {
                text = text.replace(
                    '\n',
                    random.pick(&["\r\n", "\r", "\u{85}", "\u{2028}", "\n\n", "\n "]),
                );
            }
            13 | 14 => {
                // A scalar behind a colon or dash gives way to another.
                let starts: Vec<usize> = text
                    .match_indices([':', '-'])
                    .map(|(i, _)| i + 1)
                    .filter(|i| text[*i..].starts_with(' '))
                    .collect();
                if !starts.is_empty() {
                    let start = starts[random.below(starts.len())] + 1;
                    let end = text[start..]
                        .find(['\n', '\r', ',', '#'])
                        .map_or(text.len(), |i| start + i);
                    text.replace_range(start..end, random.pick(WORDS));
                }
            }
            15 => text.truncate(at),
            16 => {
                let other = &others[random.below(others.len())];
                let from = boundary(random, other);
                text.insert_str(at, &other[from..]);
            }
            17 => {
                let padding = random
                    .pick(&["x", " ", "#", "\n", "é", "a: ", "["])
                    .repeat(1 + random.below(600));
                text.insert_str(at, &padding);
            }
            18 => text.insert_str(
                0,
                random.pick(&[
                    "\u{feff}",
                    "\u{feff}\u{feff}",
                    "# c\n",
                    "---\n",
                    "%YAML 1.1\n",
                    "{",
                    "- &a {x: y}\n",
                    " ",
                ]),
            ),
            _ => text.push_str(random.pick(&[
                "\n", "#", "\u{feff}", "\n---\n", "\n...", " ", "\t", "- ", "x: y\n",
            ])),
        }
    }
    text
}

fn reindent(random: &mut Random, text: &mut String) {
    let line = random.below(text.split('\n').count());
    let lines: Vec<String> = text
        .split('\n')
        .enumerate()
        .map(|(i, l)| match (i == line, random.below(3)) {
            (false, _) => l.to_owned(),
            (true, 0) => format!(" {l}"),
            (true, 1) => l.strip_prefix(' ').unwrap_or(l).to_owned(),
            (true, _) => format!("\t{l}"),
        })
        .collect();
    *text = lines.join("\n");
}

/// Texts at the limits of the reader, each for a reason that no mutation finds.
pub(crate) fn awkward() -> Vec<String> {
    let entry = |lines: &str| format!("- rolearn: a\n  {lines}\n");
    let mut texts = vec![
        // Depth: JSON ends at 10,000 levels, flow and indentation at as many.
        entry(&format!("note: {}{}", "[".repeat(9_998), "]".repeat(9_998))),
        entry(&format!("note: {}{}", "[".repeat(9_999), "]".repeat(9_999))),
        "[".repeat(10_000) + &"]".repeat(10_000),
        "[".repeat(10_001) + &"]".repeat(10_001),
        "- ".repeat(9_999),
        "- ".repeat(10_000),
        "- ".repeat(10_001),
        // The length of a key.
        entry(&format!("{}: x", "k".repeat(1_024))),
        entry(&format!("{}: x", "k".repeat(1_025))),
        entry(&format!("{}: x", "é".repeat(1_024))),
        format!("[\"{}\": x]", "k".repeat(1_022)),
        format!("[\"{}\": x]", "k".repeat(1_023)),
        // Fields that are given twice, in the same memory.
        entry("groups: [~, ~]\n  Groups: [b]\n  GROUPS: [a, b, c]"),
        entry("groups: [x, 1, ~]\n  GROUPS: [a, b, c, d]"),
        entry("groups: []\n  Groups: [~]\n  GROUPS: [a]"),
        entry("groups: ~\n  Groups: [~]\n  GROUPS: [a]"),
        entry("username: ~\n  USERNAME: x"),
        "- sso: {accountID: \"111122223333\", permissionSetName: V}\n  SSO: {AccountId: \"444455556666\"}\n".to_owned(),
        "- sso: ~\n  SSO: {accountID: \"111122223333\", permissionSetName: V, partition: aws-cn}\n".to_owned(),
        entry("sso: ~\n  SSO: text"),
        entry("sso: text\n  Sso: ~"),
        "- sso: {accountID: \"111122223333\", permissionSetName: V, partition: x}\n".to_owned(),
        // Values that YAML knows and JSON does not, kept or overwritten.
        entry("a: .nan"),
        entry("a: .nan\n  a: b"),
        entry("a: {~: b}\n  a: b"),
        entry("0.0: a\n  -0.0: .inf"),
        entry("!!float 1: a\n  1.0: b"),
        entry("18446744073709551615: a"),
        entry("9223372036854775807: a"),
        entry("<<: {a: .nan}\n  a: b"),
        entry("a: b\n  <<: {a: .nan}"),
        // Merges, in order and out of it.
        "- &a {rolearn: a, username: x}\n- &b {rolearn: b}\n- <<: [*a, *b]\n- {<<: [*b, *a], username: z}\n".to_owned(),
        "- &a {rolearn: a}\n- {username: x, <<: *a, <<: {rolearn: b}}\n- {<<: {<<: *a, username: y}}\n".to_owned(),
        "- <<: a\n".to_owned(),
        "- <<: [a]\n".to_owned(),
        "- &s a\n- <<: *s\n".to_owned(),
        "- !!merge <<: {rolearn: a}\n- '<<': {rolearn: b}\n- ! '<<': {rolearn: c}\n".to_owned(),
        "- &a [*a]\n".to_owned(),
        "- &a {rolearn: *a}\n".to_owned(),
        "- &a\n  <<: *a\n".to_owned(),
        // Accounts that go-yaml gives up on half-way.
        "- \"1\"\n- !!binary x\n- \"2\"\n".to_owned(),
        "- [a]\n- \"1\"\n- ~\n- !!binary eA==\n- !!int x\n".to_owned(),
        "!!binary eA==".to_owned(),
        "!!int x".to_owned(),
        "&a [x, *a, *a]".to_owned(),
        // Byte order marks where go-yaml looks for them, and characters that come too late to matter.
        "\u{feff}\u{feff}- a\n- b\n".to_owned(),
        format!("- rolearn: a\n---\n{}\u{7f}", "# \n".repeat(300)),
        "- rolearn: a\n---\n\u{7f}".to_owned(),
    ];
    for pad in 490..530 {
        texts.push(format!(
            "{}\n\u{feff}- rolearn: a\n- rolearn: b\n",
            "#".repeat(pad)
        ));
        texts.push(format!("- rolearn: a\n---\n{}é\u{1}", "#".repeat(pad)));
    }
    // Aliases that expand to more and more.
    for (width, levels) in [(9, 2), (9, 3), (9, 4), (9, 9), (99, 2), (3, 7)] {
        let mut bomb = format!("- &a0 [{}]\n", vec!["x"; width].join(","));
        for level in 1..levels {
            let alias = format!("*a{}", level - 1);
            let _ = writeln!(
                bomb,
                "- &a{level} [{}]",
                vec![alias.as_str(); width].join(",")
            );
        }
        texts.push(bomb);
    }
    for count in [400, 4_000, 40_000] {
        texts.push(format!(
            "- &a {{rolearn: a, b: [c, d, e]}}\n{}",
            "- *a\n".repeat(count)
        ));
    }
    texts
}
