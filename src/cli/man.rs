//! `identity-mapper man DIR`: manual pages of all commands.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Arg, Args, Command};

use super::{files, output};

/// Write manual pages for all commands
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Directory to write them to, such as ~/.local/share/man/man1
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes a page for each command and prints their paths.
pub(super) fn man(args: &ManArgs, mut command: Command) -> Result<ExitCode> {
    let ManArgs { folder } = args;
    command.build();
    let pages: Vec<(PathBuf, String)> = pages(&command)
        .into_iter()
        .map(|(name, page)| (folder.join(format!("{name}.1")), page))
        .collect();
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", files::shown(folder)))?;
    let written: Vec<(&Path, &str)> = pages
        .iter()
        .map(|(path, page)| (path.as_path(), page.as_str()))
        .collect();
    files::write_all(&written)?;
    let paths = pages.iter().map(|(path, _)| files::shown(path) + "\n");
    output::print(&paths.collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

/// The pages by name, such as `identity-mapper-migrate-plan`.
fn pages(command: &Command) -> Vec<(String, String)> {
    let mut open = vec![(command.get_name().to_owned(), command)];
    let mut pages = Vec::new();
    while let Some((name, command)) = open.pop() {
        let shown = command.get_subcommands();
        let shown = shown.filter(|it| !it.is_hide_set() && it.get_name() != "help");
        open.extend(shown.map(|it| (format!("{name}-{}", it.get_name()), it)));
        pages.push((name.clone(), page(&name, command)));
    }
    pages.sort();
    pages
}

fn page(name: &str, command: &Command) -> String {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let long = command.get_long_about().map(ToString::to_string);
    let called = name.replacen("identity-mapper-", "identity-mapper ", 1);
    let called = if command.has_subcommands() {
        format!("{called} COMMAND")
    } else {
        called
    };
    let mut page = format!(
        ".TH {} 1 \"\" \"identity-mapper {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\n",
        escaped(&name.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        escaped(name),
        escaped(about.lines().next().unwrap_or_default()),
        escaped(
            &called
                .replace('-', " ")
                .replacen("identity mapper", "identity-mapper", 1)
        ),
    );
    for arg in command.get_positionals() {
        let names = arg.get_value_names().unwrap_or_default().iter();
        for value in names {
            let _ = writeln!(page, ".RI [ {} ]", escaped(value));
        }
    }
    page += ".RI [ OPTIONS ]\n.SH DESCRIPTION\n";
    page += &paragraphs(long.as_deref().unwrap_or(&about), ".PP");
    let shown = |arg: &&Arg| !arg.is_hide_set();
    let args: Vec<&Arg> = command.get_arguments().filter(shown).collect();
    page += &options(&args);
    let commands: Vec<&Command> = command
        .get_subcommands()
        .filter(|it| !it.is_hide_set() && it.get_name() != "help")
        .collect();
    if !commands.is_empty() {
        page += ".SH COMMANDS\n";
        for sub in &commands {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = write!(
                page,
                ".TP\n.BR {}\\-{} (1)\n{}",
                escaped(name),
                escaped(sub.get_name()),
                paragraphs(about.lines().next().unwrap_or_default(), ".IP")
            );
        }
    }
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let examples = examples.trim_start_matches("Examples:\n");
        let _ = write!(page, ".SH EXAMPLES\n.nf\n{}.fi\n", lines(examples));
    }
    page
}

/// The options in the groups of the help.
fn options(args: &[&Arg]) -> String {
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in args {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    // Those without a group come first, as in the help.
    headings.sort_by_key(Option::is_some);
    let mut page = String::new();
    for heading in headings {
        match heading {
            None => page += ".SH OPTIONS\n",
            Some(heading) => {
                let _ = writeln!(page, ".SS {}", escaped(heading));
            }
        }
        for arg in args.iter().filter(|arg| arg.get_help_heading() == heading) {
            page += &option(arg);
        }
    }
    page
}

fn option(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default().iter();
    let values = values
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let takes_values = arg.get_action().takes_values();
    let head = match (names.as_slice(), takes_values) {
        ([], _) => format!("\\fI{}\\fR", escaped(&values)),
        (names, true) => {
            format!(
                "\\fB{}\\fR \\fI{}\\fR",
                escaped(&names.join(", ")),
                escaped(&values)
            )
        }
        (names, false) => format!("\\fB{}\\fR", escaped(&names.join(", "))),
    };
    let help = arg.get_long_help().or(arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut text = paragraphs(&help, ".IP");
    let possible = arg.get_possible_values().into_iter();
    for value in possible.filter(|value| takes_values && !value.is_hide_set()) {
        let meaning = value.get_help().map(|it| sentence(&it.to_string()));
        let meaning = meaning.map_or_else(String::new, |it| format!(": {it}"));
        let _ = writeln!(
            text,
            ".br\n\\fB{}\\fR{}",
            escaped(value.get_name()),
            escaped(&meaning)
        );
    }
    let default: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if !default.is_empty() && takes_values {
        let _ = write!(
            text,
            ".br\n{}",
            lines(&format!("Default: {}.", default.join(", ")))
        );
    }
    if let Some(variable) = arg.get_env() {
        let variable = format!("Environment: {}.", variable.to_string_lossy());
        let _ = write!(text, ".br\n{}", lines(&variable));
    }
    format!(".TP\n{head}\n{text}")
}

/// A text of the help, which has no full stop at its end, as a sentence among others.
fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() || text.ends_with(['.', ']', ':', '?', '!']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// Text whose empty lines part paragraphs, with this request between them.
fn paragraphs(text: &str, between: &str) -> String {
    let parts = text.split("\n\n").map(|part| lines(&sentence(part.trim())));
    parts.collect::<Vec<_>>().join(&format!("{between}\n"))
}

fn lines(text: &str) -> String {
    text.lines().map(|line| escaped(line) + "\n").collect()
}

/// What roff would take for its own: backslashes, hyphens (which would become dashes), and a request at the start of a line.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}
