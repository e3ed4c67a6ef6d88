//! Parts of the help that all commands share: examples, one group for shared flags, case-insensitive values.

use clap::{Arg, Command};

/// The group of the flags by which commands reach a cluster and AWS.
const SHARED: &str = "Cluster and AWS";

/// The ids of these flags.
const SHARED_FLAGS: [&str; 13] = [
    "all_contexts",
    "cluster_name",
    "config",
    "config_map_name",
    "config_map_namespace",
    "context",
    "contexts",
    "eks_rate",
    "iam_accounts",
    "iam_external_id",
    "iam_roles",
    "kubeconfig",
    "region",
];

/// Examples of each command, by its words.
const EXAMPLES: [(&str, &[&str]); 24] = [
    (
        "",
        &[
            "identity-mapper lint                                            errors in aws-auth and how to fix them",
            "identity-mapper explain arn:aws:iam::111122223333:role/Dev      why a principal has no access",
            "identity-mapper access                                          who has access",
            "identity-mapper import --output-dir mappings                    existing entries, as mappings",
            "identity-mapper plan -f mappings                                what would change",
        ],
    ),
    (
        "lint",
        &[
            "identity-mapper lint                                   the cluster of the current context",
            "identity-mapper lint --fix aws-auth.yaml               apply the safe fixes in place",
            "kubectl get cm aws-auth -n kube-system -o yaml | identity-mapper lint -",
            "helm template mychart | identity-mapper lint - -o github",
            "identity-mapper lint mappings -o sarif > lint.sarif    for code scanning",
            "identity-mapper lint mappings --ignore IM040,IM055 --min-severity warning",
            "identity-mapper lint --explain IM060                   what a code means",
        ],
    ),
    (
        "effective",
        &[
            "identity-mapper effective                              the cluster of the current context",
            "identity-mapper effective aws-auth.yaml -o wide",
            "kubectl get cm aws-auth -n kube-system -o yaml | identity-mapper effective -",
        ],
    ),
    (
        "explain",
        &[
            "identity-mapper explain --me                           whether I have access, and why not",
            "identity-mapper explain developers --can delete pods -n shop     by the mapping's name",
            "identity-mapper explain arn:aws:iam::111122223333:role/Dev --aws-auth cm.yaml",
        ],
    ),
    (
        "access",
        &[
            "identity-mapper access                                 administrators first",
            "identity-mapper access --sort-by principal -o wide",
            "identity-mapper access -o html > access.html           a page for auditors",
            "identity-mapper access -o csv > access.csv             for spreadsheets",
            "identity-mapper access -o json > january.json          to compare with a later report",
            "identity-mapper access --all-contexts -o html > access.html",
        ],
    ),
    (
        "access diff",
        &[
            "identity-mapper access diff january.json february.json",
            "identity-mapper access diff january.json february.json -o html > changes.html",
        ],
    ),
    (
        "import",
        &[
            "identity-mapper import                                 print manifests",
            "identity-mapper import --output-dir mappings           a file for each mapping",
            "identity-mapper import --aws-auth aws-auth.yaml --mode CONFIG_MAP",
        ],
    ),
    (
        "plan",
        &[
            "identity-mapper plan                                   what the operator would do now",
            "identity-mapper plan -f mappings                       with the mappings of a folder",
            "identity-mapper plan -f mappings --prune -o json",
        ],
    ),
    (
        "migrate",
        &[
            "identity-mapper migrate plan                           what would change, and what prevents it",
            "identity-mapper migrate apply                          do it, step by step",
            "identity-mapper migrate status",
            "identity-mapper migrate revert                         back to aws-auth",
        ],
    ),
    (
        "migrate plan",
        &[
            "identity-mapper migrate plan",
            "identity-mapper migrate plan --to API -o json | jq .gate.open",
        ],
    ),
    (
        "migrate apply",
        &[
            "identity-mapper migrate apply",
            "identity-mapper migrate apply --cluster-name production",
        ],
    ),
    (
        "migrate status",
        &[
            "identity-mapper migrate status",
            "identity-mapper migrate status -o json",
        ],
    ),
    ("migrate revert", &["identity-mapper migrate revert"]),
    (
        "rollback",
        &[
            "identity-mapper rollback list",
            "identity-mapper rollback show 1                        the newest copy",
            "identity-mapper rollback diff 1                        what restoring it would change",
            "identity-mapper rollback restore 1",
        ],
    ),
    (
        "rollback list",
        &[
            "identity-mapper rollback list",
            "identity-mapper rollback list -o json",
        ],
    ),
    (
        "rollback show",
        &[
            "identity-mapper rollback show 1",
            "identity-mapper rollback show 3f2a91c0 > aws-auth.yaml",
        ],
    ),
    (
        "rollback diff",
        &[
            "identity-mapper rollback diff 1",
            "identity-mapper rollback diff 1 > /dev/null || echo changed",
        ],
    ),
    (
        "rollback restore",
        &[
            "identity-mapper rollback restore 1",
            "identity-mapper rollback restore 1 --confirm node-entry",
        ],
    ),
    (
        "run",
        &[
            "identity-mapper run --cluster-name production",
            "identity-mapper run --authentication-mode CONFIG_MAP   without AWS",
            "identity-mapper run --cluster-name production --observe",
        ],
    ),
    ("release", &["identity-mapper release"]),
    (
        "completions",
        &[
            "source <(identity-mapper completions bash)                                       in ~/.bashrc",
            "source <(identity-mapper completions zsh)                                        in ~/.zshrc",
            "identity-mapper completions fish | source                                        in config.fish",
            "identity-mapper completions powershell | Out-String | Invoke-Expression          in $PROFILE",
        ],
    ),
    (
        "man",
        &["identity-mapper man ~/.local/share/man/man1          then: man identity-mapper-plan"],
    ),
    (
        "crd",
        &["identity-mapper crd | kubectl apply --server-side -f -"],
    ),
    ("version", &["identity-mapper version"]),
];

/// The command with what all commands' help has in common. `program` is what the examples call it.
pub(super) fn arranged(command: Command, program: &str) -> Command {
    arrange(command, "", program)
}

fn arrange(command: Command, path: &str, program: &str) -> Command {
    let command = match EXAMPLES.iter().find(|(of, _)| *of == path) {
        Some((_, examples)) => {
            let examples = examples.iter().map(|it| example(it, program));
            let examples: String = examples.collect();
            command.after_help(format!("Examples:\n{examples}"))
        }
        None => command,
    };
    command.mut_args(shared).mut_subcommands(|sub| {
        let path = format!("{path} {}", sub.get_name());
        arrange(sub, path.trim(), program)
    })
}

/// An example, below what explains it, as kubectl prints them: side by side they would not fit a terminal.
fn example(line: &str, program: &str) -> String {
    let (typed, explanation) = parts(line);
    let explanation = match explanation {
        "" => String::new(),
        explanation => format!("  # {explanation}\n"),
    };
    format!(
        "{explanation}  {}\n",
        typed.replace("identity-mapper ", program)
    )
}

/// What is typed, and what explains it, which comes after a gap.
fn parts(line: &str) -> (&str, &str) {
    let (typed, explanation) = line.split_once("   ").unwrap_or((line, ""));
    (typed, explanation.trim())
}

fn shared(arg: Arg) -> Arg {
    let arg = if arg.get_action().takes_values() && !arg.get_possible_values().is_empty() {
        arg.ignore_case(true)
    } else {
        arg
    };
    if SHARED_FLAGS.contains(&arg.get_id().as_str()) {
        arg.help_heading(SHARED)
    } else {
        arg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All commands by their words.
    fn paths(command: &Command, path: &str, all: &mut Vec<String>) {
        all.push(path.to_owned());
        for sub in command.get_subcommands() {
            if sub.get_name() != "help" {
                paths(sub, format!("{path} {}", sub.get_name()).trim(), all);
            }
        }
    }

    #[test]
    fn every_command_has_examples_that_can_be_typed() {
        let command = super::super::command(None);
        let mut all = Vec::new();
        paths(&command, "", &mut all);
        let described: Vec<&str> = EXAMPLES.iter().map(|(path, _)| *path).collect();
        all.sort_unstable();
        let mut sorted = described.clone();
        sorted.sort_unstable();
        assert_eq!(all, sorted);
        for example in EXAMPLES.iter().flat_map(|(_, examples)| *examples) {
            let (typed, _) = parts(example);
            let ours = typed
                .rsplit(" | ")
                .find(|part| part.starts_with("identity-mapper"));
            let ours = ours.or_else(|| {
                typed
                    .split_once("<(")
                    .map(|(_, inner)| inner.trim_end_matches(')'))
            });
            let ours = ours
                .unwrap_or_default()
                .split(['>', '|'])
                .next()
                .unwrap_or_default();
            let words = ours.split_whitespace();
            let parsed = super::super::command(None).try_get_matches_from(words);
            assert!(
                parsed.is_ok(),
                "{example}: {}",
                parsed.err().map(|it| it.to_string()).unwrap_or_default()
            );
        }
    }

    /// Lines that are longer are broken by the terminal or by clap, and can't be pasted.
    #[test]
    fn examples_fit_a_terminal() {
        for line in EXAMPLES.iter().flat_map(|(_, examples)| *examples) {
            for shown in example(line, "identity-mapper ").lines() {
                assert!(shown.chars().count() < 80, "{shown}");
            }
        }
    }

    /// What a command alone has comes first.
    #[test]
    fn shared_flags_come_last() {
        let command = super::super::command(None);
        let mut all = Vec::new();
        paths(&command, "", &mut all);
        for path in all {
            let words = path.split_whitespace();
            let found = words.fold(&command, |at, word| {
                at.find_subcommand(word).expect("a command")
            });
            let mut headings: Vec<&str> = Vec::new();
            for heading in found.get_arguments().filter_map(Arg::get_help_heading) {
                if !headings.contains(&heading) {
                    headings.push(heading);
                }
            }
            let place = headings.iter().position(|it| *it == SHARED);
            assert!(
                place.is_none_or(|place| place + 1 == headings.len()),
                "{path}: {headings:?}"
            );
        }
    }

    #[test]
    fn values_are_taken_in_any_case() {
        for line in [
            "access -o JSON",
            "access --mode config_map --aws-auth x",
            "run --handover auto --cluster-name x",
            "run --repair LASTGOOD --cluster-name x",
            "completions BASH",
        ] {
            let words = std::iter::once("identity-mapper").chain(line.split(' '));
            let parsed = super::super::command(None).try_get_matches_from(words);
            assert!(parsed.is_ok(), "{line}");
        }
    }
}
