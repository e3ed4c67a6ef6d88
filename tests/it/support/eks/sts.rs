//! The operations of STS.

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::cluster::epoch;
use super::refusal::Refusal;
use super::signing::SECRET;
use super::workload;
use super::world::{Caller, Principal, World};

/// Executes an operation of the model.
pub(crate) fn call(
    world: &mut World,
    caller: &Caller,
    operation: &str,
    input: &Map<String, Value>,
) -> Result<Value, Refusal> {
    match operation {
        "GetCallerIdentity" => Ok(json!({
            "UserId": caller.user_id,
            "Account": caller.account,
            "Arn": caller.arn,
        })),
        "AssumeRole" => assume(world, caller, input),
        workload::UNSIGNED => workload::assume(world, input),
        _ => unreachable!("the model has no {operation}"),
    }
}

/// A role that is not there, one that trusts nobody and a wrong external id are the same refusal, as at AWS.
fn assume(
    world: &mut World,
    caller: &Caller,
    input: &Map<String, Value>,
) -> Result<Value, Refusal> {
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    let arn = text("RoleArn").unwrap_or_default();
    let trusted = world.find(arn).filter(|role| {
        let asked = role
            .trust
            .as_ref()
            .map(|trust| trust.external_id.as_deref());
        asked.is_some_and(|asked| asked.is_none() || asked == text("ExternalId"))
    });
    let Some(role) = trusted.cloned() else {
        return Err(Refusal::new(
            "AccessDenied",
            403,
            format!(
                "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
                caller.arn
            ),
        ));
    };
    let session = text("RoleSessionName").unwrap_or_default();
    let seconds = input
        .get("DurationSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(3600);
    Ok(issue(
        world,
        &role,
        session,
        SignedDuration::from_secs(seconds),
    ))
}

/// Temporary credentials of a session of this role, as STS answers with them.
pub(super) fn issue(
    world: &mut World,
    role: &Principal,
    session: &str,
    lifetime: SignedDuration,
) -> Value {
    let account = role.arn.split(':').nth(4).unwrap_or_default();
    let expires = world.now.saturating_add(lifetime);
    let expires = expires.unwrap_or(world.now);
    let token = format!("no-real-token-{}", world.next_number());
    let mut made = world.session(account, &role.name, session);
    made.token = Some(token.clone());
    made.expires = Some(expires);
    let assumed = json!({"AssumedRoleId": made.user_id, "Arn": made.arn});
    let key = world.key_of(made);
    json!({
        "Credentials": {
            "AccessKeyId": key,
            "SecretAccessKey": SECRET,
            "SessionToken": token,
            "Expiration": epoch(expires),
        },
        "AssumedRoleUser": assumed,
    })
}
