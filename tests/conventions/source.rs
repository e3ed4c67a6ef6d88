//! Rust's sources as far as the conventions need them: code without text, texts with their lines, and what is imported.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// A file of `src`, without its tests.
pub(crate) struct Source {
    /// Relative to the repository.
    pub(crate) path: String,
    /// Such as `["plan", "decide"]`; empty for the root of the crate.
    pub(crate) module: Vec<String>,
    /// The code, with texts and comments blanked.
    pub(crate) code: String,
    /// String literals and doc comments, each with the line on which it begins.
    pub(crate) texts: Vec<(usize, String)>,
}

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder of the repository, or the file itself, relative to the repository.
pub(crate) fn files(below: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(below)];
    while let Some(path) = open.pop() {
        let whole = repository().join(&path);
        if whole.is_dir() {
            let entries = fs::read_dir(&whole).expect("a readable folder");
            open.extend(entries.map(|entry| path.join(entry.expect("an entry").file_name())));
        } else if whole.is_file() && path.to_string_lossy().ends_with(extension) {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found.sort();
    found
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The line of a byte, counted from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Every file of `src` that is not only for tests, without the tests at its end.
pub(crate) fn sources() -> Vec<Source> {
    let test_module =
        Regex::new(r"#\[cfg\((?:test|any\(test, fuzzing\))\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))? )?mod (\w+);")
            .unwrap();
    let test_use = Regex::new(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))? )?use [^;]*;").unwrap();
    let mut only_tests = Vec::new();
    let mut all = Vec::new();
    for path in files("src", ".rs") {
        let whole = read(&path);
        let end = whole
            .find("#[cfg(test)]\nmod tests {")
            .unwrap_or(whole.len());
        let (code, texts) = split(&whole[..end]);
        let mut module: Vec<String> = path["src/".len()..path.len() - ".rs".len()]
            .split('/')
            .map(str::to_owned)
            .collect();
        if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
            module.pop();
        }
        for test in test_module.captures_iter(&code) {
            let mut name = module.clone();
            name.push(test[1].to_owned());
            only_tests.push(name);
        }
        let code = test_use
            .replace_all(&code, |found: &regex::Captures<'_>| blank(&found[0]))
            .into_owned();
        all.push(Source {
            path,
            module,
            code,
            texts,
        });
    }
    all.retain(|source| {
        !only_tests
            .iter()
            .any(|test| source.module.starts_with(test))
    });
    all
}

fn blank(text: &str) -> String {
    text.chars()
        .map(|it| if it == '\n' { '\n' } else { ' ' })
        .collect()
}

/// The code of a text with everything else blanked, and its string literals and doc comments.
fn split(text: &str) -> (String, Vec<(usize, String)>) {
    let token = Regex::new(concat!(
        r#"(?s)(?P<doc>//[/!][^\n]*)|(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<char>b?'(?:\\[^\n]{1,10}?|[^'\\\n])')|"#,
        r###"(?P<raw>r##".*?"##|r#".*?"#|r"[^"]*")|(?P<string>"(?:[^"\\]|\\.)*")"###
    ))
    .unwrap();
    let continued = Regex::new(r"\\\n\s*").unwrap();
    let mut texts = Vec::new();
    let code = token.replace_all(text, |found: &regex::Captures<'_>| {
        let whole = found.get(0).expect("a match");
        let kept = match (found.name("doc"), found.name("raw"), found.name("string")) {
            (None, None, None) => None,
            (Some(doc), ..) => Some(doc.as_str()[3..].to_owned()),
            (None, Some(raw), _) => Some(raw.as_str().to_owned()),
            (None, None, Some(string)) => {
                Some(continued.replace_all(string.as_str(), "").into_owned())
            }
        };
        texts.extend(kept.map(|kept| (line_of(text, whole.start()), kept)));
        blank(whole.as_str())
    });
    (code.into_owned(), texts)
}

/// What the code refers to in its own crate, as absolute paths with their lines.
pub(crate) fn references(source: &Source) -> Vec<(usize, Vec<String>)> {
    let path = Regex::new(r"\b(?:crate|super|self)(?:::\w+)*(?:::\{)?").unwrap();
    let imported = Regex::new(r"\buse ((?:crate|super|self)[^;]*);").unwrap();
    let mut found = Vec::new();
    let mut take = |at: usize, text: &str| {
        let mut parts: Vec<String> = text
            .split("::")
            .map(|part| part.trim().to_owned())
            .collect();
        let mut absolute = source.module.clone();
        match parts.remove(0).as_str() {
            "crate" => absolute.clear(),
            "super" => {
                absolute.pop();
                while parts.first().is_some_and(|part| part == "super") {
                    absolute.pop();
                    parts.remove(0);
                }
            }
            _ => {}
        }
        absolute.extend(
            parts
                .into_iter()
                .filter(|part| !part.is_empty() && part != "self" && part != "*"),
        );
        found.push((line_of(&source.code, at), absolute));
    };
    for used in imported.captures_iter(&source.code) {
        let tree = used.get(1).expect("a tree");
        for leaf in leaves(tree.as_str()) {
            take(tree.start(), &leaf);
        }
    }
    let rest = imported.replace_all(&source.code, |found: &regex::Captures<'_>| blank(&found[0]));
    for used in path
        .find_iter(&rest)
        .filter(|used| used.as_str().contains("::"))
    {
        take(used.start(), used.as_str().trim_end_matches("::{"));
    }
    found
}

/// The paths of a `use` with nested braces, without the names that they are given.
fn leaves(tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.split_whitespace().collect()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut begun, mut parts) = (0_usize, 0, Vec::new());
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[begun..at]);
                begun = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[begun..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(|part| leaves(&format!("{}{}", head.trim(), part.trim())))
        .collect()
}

#[test]
fn trees_are_taken_apart() {
    assert_eq!(
        leaves("crate::a::{self, b::{C as D, e::F}, G}"),
        [
            "crate::a::self",
            "crate::a::b::C",
            "crate::a::b::e::F",
            "crate::a::G"
        ]
    );
}

#[test]
fn code_is_told_from_text() {
    let text = "/// Doc\nfn f<'a>(x: &'a str) { g(\"a \\\"b\\\" \\\n   c\", '\"', r#\"d \" e\"#) } // \"no\"\n";
    let (code, texts) = split(text);
    assert_eq!(
        texts,
        [
            (1, " Doc".to_owned()),
            (2, "\"a \\\"b\\\" c\"".to_owned()),
            (3, "r#\"d \" e\"#".to_owned())
        ]
    );
    assert!(code.contains("fn f<'a>(x: &'a str) { g("), "{code}");
    assert!(!code.contains("no"), "{code}");
}
