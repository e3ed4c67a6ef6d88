//! What holds for all sources and pages, whoever writes them: who may import whom, one name for one type, words that readers do not
//! understand, and how long a file may be. CONTRIBUTING.md has the reasons.

#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

mod source;

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use source::{Source, files, line_of, read, references, sources};

/// The modules of `src`, lowest first: each may use those before it.
const LAYERS: [&str; 25] = [
    // Values, without IO.
    "error",
    "backoff",
    "time",
    "lease",
    "principal",
    "yaml",
    "api",
    "manifest",
    "aws_auth",
    "access_entry",
    "observed",
    "ownership",
    "effective",
    "desired",
    "safety",
    "plan",
    "diff",
    "import",
    "rollback",
    "migrate",
    "explain",
    "lint",
    // IO, and what joins both.
    "aws",
    "cluster",
    "controller",
];

/// Modules whose files do not even import each other in a circle.
const WITHOUT_CIRCLES: [&str; 5] = ["plan", "migrate", "explain", "lint", "cli"];

/// Type names that are used more than once, each with the reason.
const SAME_NAME: [(&str, &str); 0] = [];

const LONGEST_FILE: usize = 600;

/// Where this is set, `tests/conventions/open.txt` is written anew: it may only shrink.
const WRITE: &str = "IDENTITY_MAPPER_WRITE_CONVENTIONS";

/// What the sources still owe, by rule and file: `RULE FILE COUNT`, one a line.
const OPEN: &str = "tests/conventions/open.txt";

/// Fails with every violation at once, one a line, in each file that has more of them than [`OPEN`] says, or fewer: then the number
/// there is too high.
fn assert_only_open(violations: &[String], name: &str, rule: &str) {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for violation in violations {
        let file = violation.split(':').next().unwrap_or_default();
        found.entry(file).or_default().push(violation);
    }
    let open = read(OPEN);
    let open: BTreeMap<&str, usize> = open
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.rsplit_once(' '))
        .map(|(file, count)| (file, count.parse().unwrap()))
        .collect();
    if std::env::var_os(WRITE).is_some() {
        write_open(name, &found, &open);
        return;
    }
    let mut wrong: Vec<String> = Vec::new();
    for (file, lines) in &found {
        let allowed = open.get(file).copied().unwrap_or_default();
        if lines.len() > allowed {
            wrong.push(format!(
                "{} (open: {allowed}, found: {})",
                lines.join("\n"),
                lines.len()
            ));
        }
    }
    for (file, allowed) in &open {
        let left = found.get(file).map_or(0, Vec::len);
        if left < *allowed {
            wrong.push(format!(
                "{OPEN}: {name} {file}: {left} are left of {allowed}; lower the number"
            ));
        }
    }
    assert!(wrong.is_empty(), "{rule}\n{}", wrong.join("\n"));
}

/// Writes the lines of one rule. Tests run side by side, so they take turns.
fn write_open(name: &str, found: &BTreeMap<&str, Vec<&str>>, before: &BTreeMap<&str, usize>) {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock();
    let whole = read(OPEN);
    let others = whole
        .lines()
        .filter(|line| !line.starts_with(&format!("{name} ")));
    let mut lines: Vec<String> = others.map(str::to_owned).collect();
    for (file, violations) in found {
        let most = before.get(file).copied().unwrap_or(usize::MAX);
        lines.push(format!("{name} {file} {}", violations.len().min(most)));
    }
    let path = source::repository().join(OPEN);
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

fn layer(module: &str) -> usize {
    // The command line is above all others.
    LAYERS
        .iter()
        .position(|layer| *layer == module)
        .unwrap_or(LAYERS.len())
}

#[test]
fn imports_run_downwards_only() {
    let mut violations = Vec::new();
    for source in sources() {
        let Some(own) = source.module.first().filter(|name| *name != "main") else {
            continue;
        };
        for (line, used) in references(&source) {
            let Some(other) = used.first() else { continue };
            let known = LAYERS.contains(&other.as_str()) || other == "cli";
            if known && layer(other) > layer(own) {
                violations.push(format!(
                    "{}:{line}: {own} uses {}",
                    source.path,
                    used.join("::")
                ));
            }
        }
    }
    assert_only_open(
        &violations,
        "layers",
        "A module uses only those before it in LAYERS (tests/conventions/main.rs):",
    );
}

#[test]
fn every_module_has_its_layer() {
    let modules: BTreeSet<String> = sources()
        .into_iter()
        .filter_map(|source| source.module.into_iter().next())
        .collect();
    let named: BTreeSet<String> = LAYERS
        .iter()
        .chain(&["cli", "main"])
        .map(ToString::to_string)
        .collect();
    assert_eq!(modules, named, "LAYERS names the modules of src");
}

/// The files that a file imports, each with the line.
fn imports(source: &Source, all: &BTreeMap<Vec<String>, &Source>) -> Vec<(usize, Vec<String>)> {
    references(source)
        .into_iter()
        .filter_map(|(line, used)| {
            let file = (1..=used.len())
                .rev()
                .find_map(|length| all.get_key_value(&used[..length]));
            file.map(|(module, _)| (line, module.clone()))
        })
        .filter(|(_, module)| *module != source.module)
        .collect()
}

#[test]
fn files_of_a_module_import_each_other_in_no_circle() {
    let sources = sources();
    let all: BTreeMap<Vec<String>, &Source> = sources
        .iter()
        .map(|source| (source.module.clone(), source))
        .collect();
    let graph: BTreeMap<&[String], Vec<(usize, Vec<String>)>> = all
        .iter()
        .map(|(module, source)| (module.as_slice(), imports(source, &all)))
        .collect();
    let reaches = |from: &[String], to: &[String]| {
        let (mut open, mut seen) = (vec![from.to_vec()], BTreeSet::new());
        while let Some(module) = open.pop() {
            if module == to {
                return true;
            }
            if seen.insert(module.clone()) {
                let next = graph.get(module.as_slice()).into_iter().flatten();
                open.extend(
                    next.filter(|(_, it)| it[0] == to[0])
                        .map(|(_, it)| it.clone()),
                );
            }
        }
        false
    };
    let mut violations = BTreeSet::new();
    for (module, used) in &graph {
        let Some(top) = module
            .first()
            .filter(|top| WITHOUT_CIRCLES.contains(&top.as_str()))
        else {
            continue;
        };
        for (line, other) in used
            .iter()
            .filter(|(_, other)| other[0] == *top && reaches(other, module))
        {
            violations.insert(format!(
                "{}:{line}: {} is imported, which imports this in turn",
                all[*module].path,
                other.join("::")
            ));
        }
    }
    assert_only_open(
        &Vec::from_iter(violations),
        "circles",
        "Circles between files:",
    );
}

#[test]
fn no_type_name_is_used_twice() {
    let declared =
        Regex::new(r"(?m)^(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|type) (\w+)").unwrap();
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        for found in declared.captures_iter(&source.code) {
            let at = line_of(&source.code, found.get(1).unwrap().start());
            places
                .entry(found[1].to_owned())
                .or_default()
                .push(format!("{}:{at}", source.path));
        }
    }
    let twice = |name: &str| places.get(name).is_some_and(|places| places.len() > 1);
    let mut violations: Vec<String> = places
        .iter()
        .filter(|(name, places)| {
            places.len() > 1 && !SAME_NAME.iter().any(|(same, _)| same == name)
        })
        .map(|(name, places)| format!("{name}: {}", places.join(" ")))
        .collect();
    violations.extend(
        SAME_NAME
            .iter()
            .filter(|(name, _)| !twice(name))
            .map(|(name, _)| format!("{name}: no longer, take it out of SAME_NAME")),
    );
    assert_only_open(
        &violations,
        "names",
        "One name, one type; the higher module renames, or SAME_NAME has the reason:",
    );
}

/// The phrases of `tests/words.txt`, each with what is written instead.
fn unwanted() -> Vec<(Regex, String)> {
    let lines = read("tests/words.txt");
    let lines = lines
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (phrase, instead) = line.split_once(" -> ").unwrap_or((line, "another word"));
            let pattern = format!(r"(?i)\b{}\b", regex::escape(phrase).replace(' ', r"\s+"));
            (
                Regex::new(&pattern).unwrap(),
                format!("`{phrase}`: {instead}"),
            )
        })
        .collect()
}

#[test]
fn words_that_readers_do_not_understand_are_not_used() {
    let unwanted = unwanted();
    let mut violations = Vec::new();
    let mut check = |path: &str, first: usize, text: &str| {
        for (phrase, instead) in &unwanted {
            for found in phrase.find_iter(text) {
                violations.push(format!(
                    "{path}:{}: {instead}",
                    first + line_of(text, found.start()) - 1
                ));
            }
        }
    };
    for source in sources() {
        for (line, text) in &source.texts {
            check(&source.path, *line, text);
        }
    }
    for below in [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs",
        "charts",
        "crds",
        "deploy",
        "action.yml",
    ] {
        let pages = files(below, "")
            .into_iter()
            .filter(|path| !path.contains("/authenticator-cases"));
        for page in pages.filter(|path| {
            [".md", ".yaml", ".yml", ".json", ".txt", ".tpl"]
                .iter()
                .any(|it| path.ends_with(it))
        }) {
            check(&page, 1, &read(&page));
        }
    }
    assert_only_open(
        &violations,
        "words",
        "Words of tests/words.txt, and what to write instead:",
    );
}

#[test]
fn files_are_short_enough_to_hold_one_thing() {
    let paths = ["src", "tests"]
        .into_iter()
        .flat_map(|below| files(below, ".rs"));
    let long: Vec<String> = paths
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert_only_open(
        &long,
        "length",
        &format!("A file of more than {LONGEST_FILE} lines holds two things:"),
    );
}
