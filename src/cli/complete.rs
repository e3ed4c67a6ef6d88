//! Completions for shells and kubectl: commands, flags and values, in the format of cobra's programs.
//!
//! The scripts of all shells ask this program, and so does kubectl for its plugins: it runs `kubectl_complete-idmap` with the words so far
//! and reads `VALUE<TAB>HELP` lines and a last line `:DIRECTIVE` (<https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/>,
//! cobra's `ShellCompDirective`).

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Arg, Command};
use kube::Api;
use kube::api::ListParams;
use kube::config::Kubeconfig;

use super::connection::ConnectionArgs;
use super::table::{Column, sort_name};
use super::{access, effective, migrate, rollback};
use crate::api::IdentityMapping;
use crate::api::condition::Reason;
use crate::lint::Code;

/// Who presses a key does not wait longer for names from a cluster.
const PATIENCE: Duration = Duration::from_secs(2);

/// cobra's directives: the shell completes names of files, or nothing else.
const FILES: u8 = 0;
const NO_FILES: u8 = 4;

/// The flags and arguments whose values are contexts of the kubeconfig, or names of mappings.
const CONTEXTS: [&str; 2] = ["context", "contexts"];
const MAPPINGS: [&str; 1] = ["callers"];

/// What can come next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Candidates {
    /// What is in the word already: the flag of a value, and the values before it in a list.
    prefix: String,
    /// Values with a word of help.
    values: Vec<(String, String)>,
    files: bool,
    /// Names that only the kubeconfig or the cluster has.
    names: Option<CompletedNames>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CompletedNames {
    Contexts,
    Mappings,
}

/// What can follow `words`, of which the last is being typed.
pub(super) fn candidates(command: &mut Command, words: &[String]) -> Candidates {
    command.build();
    let Some((current, before)) = words.split_last() else {
        return Candidates::default();
    };
    let mut at = &*command;
    let (mut positionals, mut flags) = (0, true);
    // The flag whose values come next, and how many of them.
    let mut open: Option<(&Arg, usize)> = None;
    for word in before {
        if let Some((arg, left)) = open {
            open = (left > 1).then_some((arg, left - 1));
        } else if flags && word == "--" {
            flags = false;
        } else if let Some(arg) = flags.then(|| flag(at, word)).flatten() {
            open = values_of(arg)
                .filter(|_| !word.contains('='))
                .map(|count| (arg, count));
        } else if flags && word.len() > 1 && word.starts_with('-') {
            // A flag that is none: whatever follows is not its value.
        } else if let Some(sub) = at.find_subcommand(word).filter(|_| positionals == 0) {
            at = sub;
        } else {
            positionals += 1;
        }
    }
    let mut found = match (open, current.split_once('=')) {
        (Some((arg, _)), _) => of_arg(at, arg, "", current),
        (None, Some((name, value))) if flags && name.starts_with("--") => match flag(at, name) {
            Some(arg) => of_arg(at, arg, &format!("{name}="), value),
            None => Candidates::default(),
        },
        (None, _) if flags && current.starts_with('-') => all_flags(at),
        (None, _) => of_position(at, positionals, current),
    };
    found.values.retain(|(value, _)| value.starts_with(current));
    found
}

/// The flag that a word is.
fn flag<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let name = word.split('=').next().unwrap_or(word);
    let mut args = command.get_arguments();
    match name.strip_prefix("--") {
        Some("") => None,
        Some(long) => args.find(|arg| {
            arg.get_long() == Some(long)
                || arg.get_all_aliases().is_some_and(|it| it.contains(&long))
        }),
        None => {
            // Of -vo the last takes the value.
            let short = word.strip_prefix('-')?.chars().last()?;
            args.find(|arg| arg.get_short() == Some(short))
        }
    }
}

/// How many values a flag takes; `None`: none.
fn values_of(arg: &Arg) -> Option<usize> {
    let takes = arg.get_action().takes_values();
    takes.then(|| {
        arg.get_num_args()
            .map_or(1, |range| range.min_values().max(1))
    })
}

/// The values of an argument, of which `current` is typed, behind `flag`.
fn of_arg(command: &Command, arg: &Arg, flag: &str, current: &str) -> Candidates {
    let id = arg.get_id().as_str();
    // A list is completed behind its last comma.
    let (done, begun) = match current
        .rfind(',')
        .filter(|_| arg.get_value_delimiter() == Some(','))
    {
        Some(at) => current.split_at(at + 1),
        None => ("", current),
    };
    let prefix = format!("{flag}{done}");
    let names = if CONTEXTS.contains(&id) {
        Some(CompletedNames::Contexts)
    } else {
        MAPPINGS.contains(&id).then_some(CompletedNames::Mappings)
    };
    let values = arg.get_possible_values().into_iter();
    let values = values.filter(|value| !value.is_hide_set()).map(|value| {
        let help = value.get_help().map(ToString::to_string);
        (value.get_name().to_owned(), help.unwrap_or_default())
    });
    let values = values.chain(known(command, id)).map(|(value, help)| {
        let value = as_typed(&value, begun).unwrap_or(value);
        (format!("{prefix}{value}"), help)
    });
    let places = arg.get_value_names().unwrap_or_default().iter();
    Candidates {
        values: values.collect(),
        prefix,
        files: places
            .into_iter()
            .any(|name| name.as_str().contains("FILE") || name.as_str().contains("DIR")),
        names,
    }
}

/// A value as it goes on what is typed, where that differs in case only: shells offer nothing that does not begin with it.
fn as_typed(value: &str, typed: &str) -> Option<String> {
    let (head, rest) = (value.get(..typed.len())?, value.get(typed.len()..)?);
    if head == typed || !head.eq_ignore_ascii_case(typed) {
        return None;
    }
    let is_upper = !typed.contains(|c: char| c.is_ascii_lowercase());
    let rest = if is_upper {
        rest.to_ascii_uppercase()
    } else {
        rest.to_ascii_lowercase()
    };
    Some(format!("{typed}{rest}"))
}

/// Values that no argument lists, because they would fill its help.
fn known(command: &Command, id: &str) -> Vec<(String, String)> {
    let codes = || {
        let codes = Code::ALL.iter();
        codes.map(|code| (code.id().to_owned(), code.title().to_owned()))
    };
    match (command.get_name(), id) {
        ("lint", "ignore") => codes().collect(),
        ("lint", "explain") => {
            let reasons = Reason::ALL.iter();
            let reasons = reasons.map(|reason| (reason.as_str().to_owned(), String::new()));
            codes().chain(reasons).collect()
        }
        (name, "sort_by") => {
            let columns: &[Column] = match name {
                "access" => &access::table::COLUMNS,
                "effective" => &effective::COLUMNS,
                "rollback" | "list" => &rollback::COLUMNS,
                "plan" => &migrate::PLAN_COLUMNS,
                "status" => &migrate::STATUS_COLUMNS,
                _ => &[],
            };
            let names = columns.iter().map(|column| sort_name(column.title));
            names.map(|name| (name, String::new())).collect()
        }
        _ => Vec::new(),
    }
}

fn all_flags(command: &Command) -> Candidates {
    let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let flags = flags.filter_map(|arg| {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        Some((format!("--{}", arg.get_long()?), first_line(&help)))
    });
    Candidates {
        values: flags.collect(),
        ..Candidates::default()
    }
}

/// Commands, before any other word, and the values of the argument in this place.
fn of_position(command: &Command, position: usize, current: &str) -> Candidates {
    let mut args = command.get_positionals();
    let arg = args.nth(position).or_else(|| {
        let last = command.get_positionals().last()?;
        let many = last
            .get_num_args()
            .is_some_and(|range| range.max_values() > 1);
        many.then_some(last)
    });
    let found = arg.map(|arg| of_arg(command, arg, "", current));
    let mut found = found.unwrap_or_default();
    if position == 0 {
        let commands = command.get_subcommands().filter(|it| !it.is_hide_set());
        found.values.extend(commands.map(|it| {
            let help = it.get_about().map(ToString::to_string).unwrap_or_default();
            (it.get_name().to_owned(), first_line(&help))
        }));
    }
    found
}

fn first_line(help: &str) -> String {
    help.lines().next().unwrap_or_default().to_owned()
}

/// The answer as cobra prints it. What can't be read gives no names: the shell has nowhere to show why.
pub(super) async fn answer(command: &mut Command, words: &[String]) -> String {
    let found = candidates(command, words);
    let names = match found.names {
        Some(CompletedNames::Contexts) => contexts(words),
        Some(CompletedNames::Mappings) => {
            let read = tokio::time::timeout(PATIENCE, mappings(words)).await;
            read.ok().flatten().unwrap_or_default()
        }
        None => Vec::new(),
    };
    let current = words.last().map(String::as_str).unwrap_or_default();
    let names = names
        .into_iter()
        .map(|name| (format!("{}{name}", found.prefix), String::new()));
    let names = names.filter(|(name, _)| name.starts_with(current));
    let mut text = String::new();
    for (value, help) in found.values.into_iter().chain(names) {
        let _ = match help.as_str() {
            "" => writeln!(text, "{value}"),
            help => writeln!(text, "{value}\t{help}"),
        };
    }
    let _ = writeln!(text, ":{}", if found.files { FILES } else { NO_FILES });
    text
}

/// The value of a flag among words.
fn given(words: &[String], flag: &str) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == flag {
            return words.next().cloned();
        }
        let inline = word
            .strip_prefix(flag)
            .and_then(|rest| rest.strip_prefix('='));
        if let Some(value) = inline {
            return Some(value.to_owned());
        }
    }
    None
}

fn contexts(words: &[String]) -> Vec<String> {
    let read = match given(words, "--kubeconfig") {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let contexts = read.map(|file| file.contexts).unwrap_or_default();
    contexts.into_iter().map(|context| context.name).collect()
}

async fn mappings(words: &[String]) -> Option<Vec<String>> {
    let connection = ConnectionArgs {
        kubeconfig: given(words, "--kubeconfig").map(Into::into),
        context: given(words, "--context"),
    };
    let connection = connection.connect().await.ok()?;
    let mappings: Api<IdentityMapping> = Api::all(connection.client);
    let listed = mappings.list_metadata(&ListParams::default()).await.ok()?;
    let names = listed.items.into_iter();
    Some(names.filter_map(|it| it.metadata.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let found = candidates(&mut super::super::command(None), &words);
        let mut all: Vec<String> = found.values.into_iter().map(|(value, _)| value).collect();
        all.extend(found.files.then(|| "FILES".to_owned()));
        all.extend(found.names.map(|names| format!("{names:?}")));
        all
    }

    #[test]
    fn what_comes_next() {
        for (line, expected) in [
            ("li", &["lint"][..]),
            ("rollback ", &["list", "show", "diff", "restore", "help"]),
            ("migrate st", &["status"]),
            ("-v migrate st", &["status"]),
            (
                "access -o ",
                &["text", "wide", "json", "yaml", "csv", "html"],
            ),
            ("access --output=h", &["--output=html"]),
            (
                "access -o json --con",
                &[
                    "--config-map-namespace",
                    "--config-map-name",
                    "--context",
                    "--contexts",
                    "--config",
                ],
            ),
            ("access --context ", &["Contexts"]),
            ("access --context=", &["Contexts"]),
            ("explain ", &["Mappings"]),
            ("explain a b", &["Mappings"]),
            ("explain --can list ", &[]),
            ("explain --can list pods ", &["Mappings"]),
            ("lint ", &["FILES"]),
            ("lint a.yaml b", &["FILES"]),
            ("lint -- -", &["FILES"]),
            ("plan -f ", &["FILES"]),
            ("completions ", &["bash", "zsh", "fish", "powershell"]),
            ("plan --handover ", &["Manual", "Auto", "Revert"]),
            (
                "plan --recreated-principals=R",
                &[
                    "--recreated-principals=Report",
                    "--recreated-principals=Renew",
                ],
            ),
            (
                "access --mode ",
                &["CONFIG_MAP", "API_AND_CONFIG_MAP", "API"],
            ),
            ("run --authentication-mode ", &["CONFIG_MAP"]),
            ("run --repair ", &["LastGood", "Off"]),
            ("migrate apply --to ", &["API_AND_CONFIG_MAP", "API"]),
            ("access -o JS", &["JSON"]),
            ("access -o Js", &["Json"]),
            ("access --mode config", &["config_map"]),
            ("access --contexts a,", &["Contexts"]),
            ("lint --ignore im091", &["im091"]),
            ("lint --ignore=IM020,IM061", &["--ignore=IM020,IM061"]),
            ("lint --explain InvalidS", &["InvalidSpec"]),
            ("access --sort-by us", &["username"]),
            ("rollback --sort-by ch", &["changed-then"]),
            ("rollback list --sort-by VER", &["VERSION"]),
            ("migrate plan --sort-by lo", &["loses-access-in-api"]),
            ("migrate status --sort-by d", &["detail"]),
            ("effective --sort-by e", &["effect"]),
            ("crd ", &[]),
            ("no such command ", &[]),
        ] {
            assert_eq!(next(line), expected, "{line:?}");
        }
        assert!(next("").contains(&"access".to_owned()));
    }
}
