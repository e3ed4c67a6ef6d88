//! Flags with few values, which help and completions list.

use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::observed::{Handover, Mode, RecreatedPrincipals, Repair};

pub(crate) fn handover() -> impl TypedValueParser<Value = Handover> {
    parser([
        value(
            Handover::Manual.as_str(),
            "Only mappings whose spec.backend asks for it",
        ),
        value(
            Handover::Auto.as_str(),
            "All that access entries can express, in `API_AND_CONFIG_MAP` mode",
        ),
        value(
            Handover::Revert.as_str(),
            "Back to aws-auth, where it can express the same",
        ),
    ])
}

pub(crate) fn recreated_principals() -> impl TypedValueParser<Value = RecreatedPrincipals> {
    parser([
        value(
            RecreatedPrincipals::Report.as_str(),
            "Report it in a condition",
        ),
        value(
            RecreatedPrincipals::Renew.as_str(),
            "Recreate the access entry; an administrator's only after a confirmation",
        ),
    ])
}

pub(crate) fn repair() -> impl TypedValueParser<Value = Repair> {
    parser([
        value(Repair::LastGood.as_str(), "Restore the last valid text"),
        value(
            Repair::Off.as_str(),
            "Leave an invalid text; recreate a missing aws-auth with the managed entries only",
        ),
    ])
}

pub(crate) fn mode() -> impl TypedValueParser<Value = Mode> {
    parser(modes())
}

/// Where a mode other than `CONFIG_MAP` is read from EKS. The other values are known, so that the command can say so.
pub(crate) fn declared_mode() -> impl TypedValueParser<Value = Mode> {
    let [config_map, rest @ ..] = modes();
    let rest = rest.into_iter().map(|value| value.hide(true));
    parser(std::iter::once(config_map).chain(rest))
}

/// The mode to change to. `CONFIG_MAP` is known, so that the refusal can say why.
pub(crate) fn next_mode() -> impl TypedValueParser<Value = Mode> {
    let [config_map, rest @ ..] = modes();
    let values = std::iter::once(config_map.hide(true)).chain(rest);
    PossibleValuesParser::new(values).try_map(|text| match text.parse()? {
        Mode::ConfigMap => Err(
            "EKS can't change a cluster back to CONFIG_MAP; write API_AND_CONFIG_MAP or API. `migrate revert` moves principals \
                back to aws-auth"
                .to_owned(),
        ),
        mode => Ok(mode),
    })
}

fn modes() -> [PossibleValue; 3] {
    [
        value(Mode::ConfigMap.as_str(), "Only aws-auth"),
        value(
            Mode::ApiAndConfigMap.as_str(),
            "Access entries, and aws-auth for principals without one",
        ),
        value(Mode::Api.as_str(), "Only access entries"),
    ]
}

fn value(value: &'static str, help: &'static str) -> PossibleValue {
    PossibleValue::new(value).help(help)
}

fn parser<T>(values: impl IntoIterator<Item = PossibleValue>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(values).try_map(|text| text.parse::<T>())
}
