//! What README and docs say is so: reasons, links, commands and examples.

mod examples;
mod logs;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use identity_mapper::api::condition::{ConditionType, Reason};
use mlua::{Function, Lua, LuaSerdeExt as _};
use serde_json::{Value, json};

use crate::support::programs::{operator_binary, repository};
use crate::support::{Cluster, Operator};

const TROUBLESHOOTING: &str = include_str!("../../../docs/troubleshooting.md");

/// The pages for people: those beside the README and everything in docs/.
fn pages() -> Vec<(PathBuf, String)> {
    let root = repository();
    let mut paths: Vec<PathBuf> = ["", "docs", "docs/development"]
        .into_iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The fenced blocks of a language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .map(|rest| rest.split_once("```").expect("the block ends").0)
        .collect()
}

#[test]
fn every_reason_has_a_heading_and_every_heading_is_a_reason() {
    let (_, section) = TROUBLESHOOTING.split_once("\n## Reasons\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let headings: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(headings, reasons);
    for part in section.split("\n### ").skip(1) {
        let says_how = part.contains("*Fix:*") || part.contains("No action needed.");
        assert!(says_how, "no fix under {part}");
    }
}

#[test]
fn conditions_are_spelt_as_they_are() {
    let types: BTreeSet<&str> = ConditionType::ALL
        .iter()
        .map(|type_| type_.as_str())
        .collect();
    for (path, text) in pages() {
        for (before, _) in text
            .match_indices("=True")
            .chain(text.match_indices("=False"))
            .map(|(at, _)| text.split_at(at))
        {
            let word = before
                .rsplit(|c: char| !c.is_ascii_alphanumeric())
                .next()
                .unwrap();
            assert!(
                types.contains(word),
                "{}: {word} is no condition",
                path.display()
            );
        }
    }
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in pages() {
        for target in text
            .split("](")
            .skip(1)
            .map(|rest| rest.split_once(')').unwrap().0)
        {
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                path.clone()
            } else {
                path.parent().unwrap().join(file)
            };
            assert!(file.exists(), "{}: {target} is not there", path.display());
            if !anchor.is_empty() {
                let headings = fs::read_to_string(&file).unwrap();
                // As GitHub makes it: punctuation goes.
                let slug = |line: &str| {
                    let title = line.trim_start_matches('#').trim().to_lowercase();
                    let kept = title
                        .chars()
                        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                    kept.collect::<String>().replace(' ', "-")
                };
                let mut headings = headings.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| slug(line) == anchor),
                    "{}: {target} has no such heading",
                    path.display()
                );
            }
        }
    }
}

/// Whether the sources hold a test of this name, as `cargo test` prints it.
fn is_test(name: &str) -> bool {
    let (module, function) = name.rsplit_once("::").expect("a module and a name");
    // Unit tests stand in a module `tests` of their file, or in a file of that name.
    let modules = [Some(module), module.strip_suffix("::tests")];
    let root = repository();
    let files = modules.into_iter().flatten().flat_map(|module| {
        let path = module.replace("::", "/");
        ["src", "tests/it"].map(|folder| {
            let path = root.join(folder).join(&path);
            [path.with_extension("rs"), path.join("mod.rs")]
        })
    });
    let files = files.flatten();
    files
        .filter_map(|file| fs::read_to_string(file).ok())
        .any(|text| {
            let declared = format!("fn {function}(");
            // Cases that share what they start are called by a test of their file.
            let is_case = text.contains(&format!("{function}(&"));
            text.match_indices(&declared).any(|(at, _)| {
                let attributes = text[..at].rsplit("\n\n").next().unwrap_or_default();
                is_case || attributes.contains("#[test]") || attributes.contains("#[tokio::test")
            })
        })
}

/// The tests that rows of tables name.
fn named(rows: &str) -> Vec<&str> {
    rows.lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|code| code.contains("::") && !code.contains("AWS::"))
        .collect()
}

#[test]
fn tests_that_are_named_exist() {
    let (_, eks) = include_str!("../../../docs/development/testing.md")
        .split_once("\n## How EKS behaves, and the tests for it")
        .unwrap();
    let (_, eksctl) = include_str!("../../../docs/migration.md")
        .split_once("\n## Compared with eksctl")
        .unwrap();
    for (page, rows, least) in [
        ("development/testing.md", eks, 40),
        ("migration.md", eksctl, 12),
    ] {
        let names = named(rows);
        assert!(
            names.len() >= least,
            "{page}: only {} tests were found",
            names.len()
        );
        let missing: Vec<&str> = names.into_iter().filter(|name| !is_test(name)).collect();
        assert!(
            missing.is_empty(),
            "docs/{page} names no tests: {missing:?}"
        );
    }
}

/// What the binary prints with these arguments and `--help`.
fn help(arguments: &[&str]) -> String {
    let output = Command::new(operator_binary())
        .args(arguments)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?} is no command");
    String::from_utf8(output.stdout).unwrap()
}

/// The help of a command and of its subcommands.
fn help_with_subcommands(command: &str) -> String {
    let own = help(&[command]);
    let (_, listed) = own.split_once("\nCommands:\n").unwrap_or_default();
    let subcommands = listed.lines().map_while(|line| line.strip_prefix("  "));
    let subcommands = subcommands.filter_map(|line| line.split(' ').next());
    let helps = subcommands.filter(|name| is_word(name) && *name != "help");
    helps.fold(own.clone(), |all, name| all + &help(&[command, name]))
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

#[test]
fn commands_and_flags_that_are_named_exist() {
    let all = help(&[]);
    let (_, listed) = all.split_once("\nCommands:\n").unwrap();
    let commands: BTreeSet<&str> = listed
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| is_word(name) && *name != "help")
        .collect();
    let helps: String = commands
        .iter()
        .map(|command| help_with_subcommands(command))
        .collect();
    let mut named = 0;
    for (path, text) in pages() {
        // A command stands in code: after a backquote, as a line of its own, or in the Pod.
        for start in [
            "`identity-mapper ",
            "    identity-mapper ",
            "$ identity-mapper ",
            "| identity-mapper ",
            "-- /identity-mapper ",
        ] {
            for rest in text.split(start).skip(1) {
                let line = rest.split(['\n', '`']).next().unwrap();
                let mut words = line.split_whitespace();
                let command = words.next().unwrap();
                assert!(
                    commands.contains(command),
                    "{}: {command} is no command",
                    path.display()
                );
                let mut words = words.peekable();
                let subcommand = words.peek().copied().unwrap_or_default();
                let mut help = help(&[command]);
                if help.contains(&format!("\n  {subcommand} ")) && is_word(subcommand) {
                    help += &self::help(&[command, subcommand]);
                }
                for flag in words.filter(|word| word.starts_with("--")) {
                    let flag = flag.split('=').next().unwrap();
                    assert!(
                        help.contains(flag),
                        "{}: {command} has no {flag}",
                        path.display()
                    );
                }
                named += 1;
            }
        }
        // A flag that stands alone is one of ours, unless the text says whose.
        for flag in text
            .split("`--")
            .skip(1)
            .map(|rest| rest.split(['`', ' ', '=', '\n', ':']).next().unwrap())
        {
            let others = ["authentication-token-webhook-cache-ttl", "set"];
            assert!(
                others.contains(&flag) || helps.contains(&format!("--{flag}")),
                "{}: no command has --{flag}",
                path.display()
            );
        }
    }
    assert!(named >= 3, "only {named} commands were found");
}

#[tokio::test]
async fn a_server_takes_the_examples_and_the_operator_puts_the_first_ones_into_effect() {
    let cluster = Cluster::with_operator_rights().await;
    let kubectl = |args: &[&str], stdin: Option<&str>| {
        let output = cluster.kubectl(args, stdin);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "kubectl {args:?}: {error}\n{}",
            stdin.unwrap_or_default()
        );
        String::from_utf8(output.stdout).unwrap()
    };
    kubectl(&["create", "namespace", "argocd"], None);
    let mut taken = 0;
    for (path, text) in pages() {
        for block in blocks(&text, "yaml") {
            kubectl(&["apply", "--dry-run=server", "-f", "-"], Some(block));
            taken += 1;
            // Policies and permission sets take effect in EKS only, which is not there.
            let needs_aws = block.contains("accessPolicies:") || block.contains("permissionSet:");
            if path.ends_with("README.md") && !needs_aws {
                kubectl(&["apply", "-f", "-"], Some(block));
            }
        }
    }
    assert!(taken >= 3, "only {taken} examples were found");
    let operator = Operator::start(&cluster, &[]).await;
    kubectl(
        &[
            "wait",
            "--for=condition=Ready",
            "identitymappings",
            "--all",
            "--timeout=30s",
        ],
        None,
    );

    // The commands that show where to look.
    kubectl(&["get", "identitymappings", "-o", "wide"], None);
    kubectl(
        &[
            "annotate",
            "identitymappings",
            "--all",
            "identity-mapper.dev/confirm=mass-removal,node-entry",
        ],
        None,
    );
    let can = [
        "auth",
        "can-i",
        "patch",
        "configmap/aws-auth",
        "-n",
        "kube-system",
        "--as",
    ];
    let can = [
        &can[..],
        &["system:serviceaccount:identity-mapper:identity-mapper"],
    ]
    .concat();
    assert_eq!(kubectl(&can, None), "yes\n");
    operator.stop().await;
}

#[test]
fn argo_cd_health() {
    let manifest: Value = serde_saphyr::from_str(blocks(TROUBLESHOOTING, "yaml")[0]).unwrap();
    let script =
        manifest["data"]["resource.customizations.health.identity-mapper.dev_IdentityMapping"]
            .as_str()
            .unwrap();
    // Argo CD speaks Lua 5.1, and hands the object over as `obj`.
    let lua = Lua::new();
    let health: Function = lua.load(script).into_function().unwrap();
    let condition = |type_: ConditionType, status: &str, reason: Reason| json!({"type": type_.as_str(), "status": status, "reason": reason.as_str(), "message": reason.as_str()});
    let ready = condition(ConditionType::Ready, "True", Reason::InEffect);
    let unready = condition(ConditionType::Ready, "False", Reason::WriteFailed);
    let stalled = condition(
        ConditionType::Stalled,
        "True",
        Reason::RemovalNeedsConfirmation,
    );
    let cases = [
        (
            json!({}),
            1,
            json!(null),
            [
                "Progressing",
                "the operator has not seen this generation yet",
            ],
        ),
        (
            json!({}),
            1,
            json!({}),
            [
                "Progressing",
                "the operator has not seen this generation yet",
            ],
        ),
        (
            json!({}),
            1,
            json!({"observedGeneration": 1, "conditions": [ready]}),
            ["Healthy", "InEffect"],
        ),
        (
            json!({}),
            2,
            json!({"observedGeneration": 1, "conditions": [ready]}),
            [
                "Progressing",
                "the operator has not seen this generation yet",
            ],
        ),
        (
            json!({}),
            1,
            json!({"observedGeneration": 1, "conditions": [unready]}),
            ["Progressing", "WriteFailed"],
        ),
        (
            json!({}),
            1,
            json!({"observedGeneration": 1, "conditions": [ready, stalled]}),
            ["Degraded", "RemovalNeedsConfirmation"],
        ),
        (
            json!({"suspend": true}),
            1,
            json!({"observedGeneration": 1, "conditions": [ready]}),
            ["Suspended", "spec.suspend is true"],
        ),
    ];
    for (spec, generation, status, expected) in cases {
        let mut object = json!({"metadata": {"generation": generation}, "spec": spec});
        if !status.is_null() {
            object["status"] = status;
        }
        lua.globals()
            .set("obj", lua.to_value(&object).unwrap())
            .unwrap();
        let found: Value = lua.from_value(health.call(()).unwrap()).unwrap();
        assert_eq!([&found["status"], &found["message"]], expected, "{object}");
    }
}
