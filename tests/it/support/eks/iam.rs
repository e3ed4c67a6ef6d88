//! The operations of IAM: the account of the caller alone.

use serde_json::{Map, Value, json};

use super::cluster::epoch;
use super::knobs::Knobs;
use super::page::page;
use super::refusal::Refusal;
use super::world::{Account, Caller, Principal, World};

/// Executes an operation of the model.
pub(crate) fn call(
    world: &World,
    knobs: &Knobs,
    caller: &Caller,
    operation: &str,
    input: &Map<String, Value>,
) -> Result<Value, Refusal> {
    let nobody = Account::default();
    let account = world.account(&caller.account).unwrap_or(&nobody);
    let name = |member: &str| {
        input
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    match operation {
        "GetRole" => {
            let name = name("RoleName");
            let role = account
                .roles
                .get(&name.to_lowercase())
                .ok_or_else(|| missing("role", name))?;
            Ok(json!({"Role": role_value(role, world.partition(), &caller.account)}))
        }
        "GetUser" => {
            // Without a name it is the caller's own.
            let name = match name("UserName") {
                "" if !caller.arn.contains(":user/") => {
                    return Err(Refusal::new(
                        "ValidationError",
                        400,
                        "Must specify userName when calling with non-User credentials",
                    ));
                }
                "" => caller.arn.rsplit('/').next().unwrap_or_default(),
                name => name,
            };
            let user = account
                .users
                .get(&name.to_lowercase())
                .ok_or_else(|| missing("user", name))?;
            Ok(json!({"User": user_value(user)}))
        }
        "ListRoles" => list(input, knobs, account.roles.values(), "Roles", |role| {
            role_value(role, world.partition(), &caller.account)
        }),
        "ListUsers" => list(input, knobs, account.users.values(), "Users", user_value),
        _ => unreachable!("the model has no {operation}"),
    }
}

fn missing(what: &str, name: &str) -> Refusal {
    let message = format!("The {what} with name {name} cannot be found.");
    Refusal::new("NoSuchEntity", 404, message)
}

fn list<'a>(
    input: &Map<String, Value>,
    knobs: &Knobs,
    principals: impl Iterator<Item = &'a Principal>,
    member: &str,
    value: impl Fn(&Principal) -> Value,
) -> Result<Value, Refusal> {
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    let prefix = text("PathPrefix").unwrap_or("/");
    let found: Vec<&Principal> = principals
        .filter(|it| it.path.starts_with(prefix))
        .collect();
    let asked = input.get("MaxItems").and_then(Value::as_u64).unwrap_or(100);
    let most = usize::try_from(asked)
        .unwrap_or(usize::MAX)
        .min(knobs.iam_page);
    let scope = format!("{member} {prefix}");
    let page = page(
        &scope,
        found,
        |it| it.name.to_lowercase(),
        text("Marker"),
        most,
    )
    .ok_or_else(|| Refusal::new("ValidationError", 400, "Invalid Marker"))?;
    let values: Vec<Value> = page.items.into_iter().map(value).collect();
    let mut answer = json!({"IsTruncated": page.next.is_some(), "Marker": page.next});
    answer[member] = values.into();
    Ok(answer)
}

/// Tags are left out, as `ListRoles` leaves them out.
fn role_value(role: &Principal, partition: &str, account: &str) -> Value {
    let statement = if role.trust.is_some() {
        json!([{"Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": {"AWS": format!("arn:{partition}:iam::{account}:root")}}])
    } else {
        json!([])
    };
    let policy = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
    json!({
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.id,
        "Arn": role.arn,
        "CreateDate": epoch(role.created),
        "AssumeRolePolicyDocument":
            percent_encoding::utf8_percent_encode(&policy, percent_encoding::NON_ALPHANUMERIC).to_string(),
        "MaxSessionDuration": 3600,
    })
}

fn user_value(user: &Principal) -> Value {
    json!({
        "Path": user.path,
        "UserName": user.name,
        "UserId": user.id,
        "Arn": user.arn,
        "CreateDate": epoch(user.created),
    })
}
