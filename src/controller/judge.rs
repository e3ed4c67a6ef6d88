//! What is asked before a call of a plan is sent.

use super::implied::Implied;
use crate::access_entry::Call;
use crate::cluster::state::WatchedState;
use crate::observed::AwsState;
use crate::plan::Memory;
use crate::principal::Key;
use crate::safety::{clear_call, may_take};
use crate::time::Timestamp;

/// Judges a call of a plan by what the watches have read when it is sent. `planned` is the version of aws-auth that the plan knew: while
/// that is the current one, an entry that is created takes precedence over nothing that the plan did not see.
pub(super) fn judge(
    state: &WatchedState,
    implied: Option<&Implied>,
    planned: Option<&str>,
    memory: &Memory,
) -> impl FnMut(&Key, &[Call], &AwsState) -> Result<(), String> + Send {
    let current = state
        .config_map()
        .map(|view| view.resource_version.as_str());
    let same_text = current == planned;
    move |key, calls, aws| {
        let Some(call) = calls.first() else {
            return Ok(());
        };
        let deletes = matches!(call, Call::Delete { .. });
        if deletes && state.goes_with_definition(key, Timestamp::now()) {
            return Err("deleting the CustomResourceDefinition revokes nothing".to_owned());
        }
        let seen = same_text && matches!(call, Call::Create { .. });
        if seen || !may_take(aws, state.bindings(), call) {
            return Ok(());
        }
        match state.input(Timestamp::now(), aws.clone()) {
            Some(mut input) => {
                if let Some(implied) = implied {
                    input.desired = implied.desired(&input.observed);
                }
                let config_map = state.name().to_string();
                clear_call(
                    &input.observed,
                    &input.desired,
                    &config_map,
                    memory.removals(),
                    calls,
                )
            }
            None => Err("the initial lists are not complete".to_owned()),
        }
    }
}
