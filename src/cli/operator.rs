//! The settings of the operator that runs in the cluster: its plans depend on them, so `plan` uses the same ones.

use std::collections::BTreeMap;

use clap::builder::Resettable;
use clap::{ArgAction, Args as _, Command, FromArgMatches as _};

use crate::cli::output::complain;
use crate::cli::run::RunArgs;
use crate::cluster::Cluster;
use crate::cluster::operator::Started;
use crate::observed::Settings;

/// An operator, as its Deployment starts it.
pub(crate) struct Operator {
    /// The Deployment, with its namespace.
    pub(crate) name: String,
    pub(crate) settings: Settings,
}

/// The operator of the `ConfigMap` that is planned for; `None` where none is found. What can't be known is reported, unless the plan does
/// not depend on it: `needed`.
pub(crate) async fn operator(cluster: &Cluster, needed: bool) -> Option<Operator> {
    let config_map = cluster.config_map();
    let started = match cluster.started_operators().await {
        Ok(started) => started,
        Err(_) if !needed => return None,
        Err(error) => {
            complain(&format!(
                "note: the operator's settings are not known, because the Deployments can't be listed ({error}): defaults are \
                    used; add --handover, --soak, --propagation and --recreated-principals if yours differ"
            ));
            return None;
        }
    };
    let mut found = Vec::new();
    for one in started {
        match arguments(&one).map(|args| args.settings()) {
            Ok(settings) if settings.config_map == *config_map => found.push(Operator {
                name: one.name,
                settings,
            }),
            Ok(_) => {}
            Err(why) => complain(&format!(
                "note: the settings of Deployment {} are not known: {why}; defaults are used",
                one.name
            )),
        }
    }
    if found.len() > 1 {
        let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
        complain(&format!(
            "note: several operators manage {}: {}; the settings of the first are used",
            config_map,
            names.join(", ")
        ));
    }
    found.into_iter().next()
}

/// What its arguments and variables say, read as `run` reads them, but for this process's own environment.
pub(crate) fn arguments(started: &Started) -> Result<RunArgs, String> {
    let command = RunArgs::augment_args(Command::new("run"));
    let command = command.mut_args(|arg| arg.env(Resettable::Reset));
    let Some((first, rest)) = started.args.split_first() else {
        return Err("it has no arguments".to_owned());
    };
    if first != "run" {
        return Err(format!("it does not run the operator but {first:?}"));
    }
    let mut words = vec!["run".to_owned()];
    words.extend(rest.iter().cloned());
    words.extend(of_variables(&started.env, rest));
    let matches = command.try_get_matches_from(words);
    let args = matches.and_then(|matches| RunArgs::from_arg_matches(&matches));
    args.map_err(|error| error.to_string().trim().replace('\n', " "))
}

/// The variables that stand for flags which are not given.
fn of_variables(env: &BTreeMap<String, String>, given: &[String]) -> Vec<String> {
    let command = RunArgs::augment_args(Command::new("run"));
    let mut words = Vec::new();
    for arg in command.get_arguments() {
        let (Some(variable), Some(long)) = (arg.get_env(), arg.get_long()) else {
            continue;
        };
        let Some(value) = variable.to_str().and_then(|variable| env.get(variable)) else {
            continue;
        };
        let flag = format!("--{long}");
        let is_given = |word: &String| {
            *word == flag
                || word
                    .strip_prefix(&flag)
                    .is_some_and(|it| it.starts_with('='))
        };
        if given.iter().any(is_given) {
            continue;
        }
        match arg.get_action() {
            ArgAction::SetTrue if value == "true" => words.push(flag),
            ArgAction::SetTrue => {}
            _ => words.push(format!("{flag}={value}")),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::observed::{Handover, RecreatedPrincipals};

    fn started(args: &[&str], env: &[(&str, &str)]) -> Started {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Started {
            name: "identity-mapper/identity-mapper".to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: env.iter().map(owned).collect(),
        }
    }

    #[test]
    fn settings_are_read_of_arguments_and_variables() {
        let args = [
            "run",
            "--cluster-name=main",
            "--soak=1h",
            "--handover",
            "Auto",
        ];
        let env = [
            ("IDENTITY_MAPPER_SOAK", "2h"),
            ("IDENTITY_MAPPER_PROPAGATION", "5s"),
            ("IDENTITY_MAPPER_OBSERVE", "true"),
            ("AWS_REGION", "eu-west-1"),
        ];
        let settings = arguments(&started(&args, &env))
            .expect("arguments")
            .settings();
        assert_eq!(settings.soak, SignedDuration::from_hours(1), "a flag wins");
        assert_eq!(settings.propagation, SignedDuration::from_secs(5));
        assert_eq!(settings.handover, Handover::Auto);
        assert_eq!(settings.recreated, RecreatedPrincipals::Report);
        assert!(settings.observe);
    }

    #[test]
    fn arguments_of_another_version_are_reported() {
        for (args, expected) in [
            (&["run", "--new-flag=1"][..], "--new-flag"),
            (&["run", "--soak=1s"], "60s"),
            (&["lint"], "does not run the operator"),
            (&[], "no arguments"),
        ] {
            let error = arguments(&started(args, &[])).expect_err("not known");
            assert!(error.contains(expected), "{args:?}: {error}");
        }
    }
}
