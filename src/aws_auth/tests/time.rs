//! Faulty texts of any size are read in time that grows with their length: a ConfigMap holds a megabyte.

use super::*;
use crate::fuzzing::assert_linear_in_size;

/// A text of about so many bytes.
type Grown = fn(usize) -> String;

fn numbered(size: usize, line: fn(usize) -> String) -> String {
    let lines = (0..).map(line);
    lines
        .scan(0, |length, line| {
            *length += line.len();
            (*length <= size).then_some(line)
        })
        .collect()
}

const TEXTS: [(&str, Grown); 17] = [
    ("fields in one line", |size| {
        format!("-{}\n  username: @x\n", " rolearn: a".repeat(size / 11))
    }),
    ("unknown fields of an entry, all given twice", |size| {
        let fields = numbered(size / 2, |number| format!("  f{number}: 1\n"));
        format!("- rolearn: a\n{fields}{fields}  x: @\n")
    }),
    ("fields of an entry in brackets", |size| {
        let fields = numbered(size, |number| format!("f{number}: 1, "));
        format!("- {{{fields}rolearn: a}}\n")
    }),
    ("blank lines", |size| format!("- {{\n{}", "\n".repeat(size))),
    ("comments", |size| {
        format!("- {{\n{}", "# x\n".repeat(size / 4))
    }),
    ("tabs", |size| {
        format!("- rolearn: a\n{}", "\t username: b\n".repeat(size / 14))
    }),
    ("entries without dash", |size| {
        "rolearn: a\nusername: b\n".repeat(size / 23)
    }),
    ("entries that start further and further right", |size| {
        numbered(size, |number| {
            format!("{}- rolearn: a\n", " ".repeat(number % 200))
        })
    }),
    ("dropped entries", |size| "- 1\n".repeat(size / 4)),
    ("dropped entries in one line", |size| {
        format!("[{}]", "1, ".repeat(size / 3))
    }),
    ("open quotes", |size| "- rolearn: \"a\n".repeat(size / 14)),
    ("open brackets", |size| "- groups: [a\n".repeat(size / 13)),
    ("brackets in brackets", |size| "[".repeat(size.min(9000))),
    ("colons of another script", |size| {
        format!(
            "- rolearn: {}\n  username: @\n",
            "\u{ff1a}".repeat(size / 3)
        )
    }),
    ("line breaks as two characters", |size| {
        let line = |number| format!("- rolearn: a{number}\\n  username: @\\n");
        numbered(size, line)
    }),
    ("templates", |size| {
        format!("- username: a{}\n  x: @\n", "{{Foo}}".repeat(size / 7))
    }),
    ("groups", |size| {
        format!("- rolearn: a\n  groups:\n{}", "  - on\n".repeat(size / 7))
    }),
];

#[test]
fn the_time_of_reading_grows_with_the_text_and_not_with_its_square() {
    for (name, text) in TEXTS {
        for section in Section::ALL {
            assert_linear_in_size(&format!("{name} in {section}"), text, |text| {
                let data = BTreeMap::from([(section.key().to_owned(), text.to_owned())]);
                let (document, _) = Document::parse_placed(&data);
                drop(comments(text, document.section(section)));
            });
        }
    }
}

#[test]
fn the_time_of_lint_grows_with_the_text_and_not_with_its_square() {
    for (name, text) in TEXTS {
        assert_linear_in_size(&format!("lint of {name}"), text, |text| {
            let text = text.replace('\n', "\n    ");
            let manifest = format!(
                "kind: ConfigMap\nmetadata: {{name: aws-auth}}\ndata:\n  mapRoles: |\n    {text}"
            );
            let name = "it.yaml".to_owned();
            let source = crate::manifest::Source {
                name,
                text: manifest,
            };
            drop(crate::lint::check(&[source]));
        });
    }
}
