//! A call from its input to its answer, whatever protocol it came by.

use serde_json::{Map, Value};

use super::knobs::Knobs;
use super::log::{Call, Outcome};
use super::model::{Fault as Misfit, Operation};
use super::refusal::Refusal;
use super::shared::Shared;
use super::world::{Caller, World};
use super::{EKS, Fault, Service, cloud_trail, eks_api, iam, sqs, sts};

/// A call that is to be made.
pub(super) struct Request<'a> {
    pub(super) service: Service,
    pub(super) operation: &'a Operation,
    pub(super) caller: &'a Caller,
    pub(super) input: Map<String, Value>,
}

impl Request<'_> {
    /// The principal that the call is about.
    pub(super) fn principal(&self, world: &World) -> Option<String> {
        let text = |name: &str| self.input.get(name).and_then(Value::as_str);
        if let Some(resource) = text("resourceArn") {
            let mut entries = world.cluster.entries.values();
            let entry = entries.find(|entry| entry.arn == resource);
            return entry.map(|entry| entry.principal_arn.clone());
        }
        text("principalArn")
            .or_else(|| text("RoleArn"))
            .map(str::to_owned)
    }

    /// Checks, executes and tells `CloudTrail`.
    pub(super) fn execute(
        &self,
        shared: &Shared,
        world: &mut World,
        knobs: &mut Knobs,
    ) -> Result<Value, Refusal> {
        let result = self.answer(shared, world, knobs);
        if self.service == Service::Eks {
            let (name, input) = (self.operation.name.as_str(), &self.input);
            cloud_trail::tell(world, knobs, self.caller, name, input, result.as_ref());
        }
        result
    }

    fn answer(
        &self,
        shared: &Shared,
        world: &mut World,
        knobs: &mut Knobs,
    ) -> Result<Value, Refusal> {
        let model = self.service.model();
        model
            .check_input(self.operation, &self.input)
            .map_err(|misfit| self.misfit(&misfit))?;
        let (name, input) = (self.operation.name.as_str(), &self.input);
        let answer = match self.service {
            Service::Eks => eks_api::call(world, knobs, name, input),
            Service::Iam => iam::call(world, knobs, self.caller, name, input),
            Service::Sts => sts::call(world, self.caller, name, input),
            Service::Sqs => sqs::call(world, name, input, |account, queue| {
                shared.queue_url(account, queue)
            }),
        }?;
        let answer = without_nulls(answer);
        model
            .check_answer(self.operation, &answer)
            .map_err(|misfit| {
                let message = format!("the stand-in's own answer is wrong: {}", misfit.message());
                Refusal::new("InternalFailure", 500, message)
            })?;
        Ok(answer)
    }

    /// Whether the caller is denied the action.
    pub(super) fn authorise(&self, world: &World, knobs: &Knobs) -> Result<(), Refusal> {
        // The right to delete one message is the right to delete several at once
        // (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html>).
        let operation = match self.operation.name.as_str() {
            "DeleteMessageBatch" => "DeleteMessage",
            name => name,
        };
        let action = format!("{}:{operation}", self.service.signing_name());
        if !knobs.denied.contains(&action) {
            return Ok(());
        }
        let (code, action) = match self.service {
            Service::Eks => ("AccessDeniedException", action),
            Service::Sqs => ("AccessDenied", action.to_lowercase()),
            Service::Iam | Service::Sts => ("AccessDenied", action),
        };
        let (caller, resource) = (&self.caller.arn, self.resource(world));
        Err(Refusal::new(
            code,
            403,
            format!(
                "User: {caller} is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the {action} action"
            ),
        ))
    }

    /// The resource that the action is on
    /// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html>).
    fn resource(&self, world: &World) -> String {
        let text = |name: &str| {
            self.input
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (partition, account) = (world.partition(), &self.caller.account);
        match (self.service, self.operation.name.as_str()) {
            (Service::Eks, "ListAccessPolicies") => "*".to_owned(),
            (Service::Eks, "TagResource" | "UntagResource" | "ListTagsForResource") => {
                text("resourceArn").to_owned()
            }
            (Service::Eks, "CreateAccessEntry" | "ListAccessEntries") => world.cluster.arn.clone(),
            (Service::Eks, _) if self.input.contains_key("principalArn") => {
                let entry = world.cluster.entries.get(text("principalArn"));
                entry.map_or_else(
                    || world.cluster.arn.replace(":cluster/", ":access-entry/") + "/*",
                    |entry| entry.arn.clone(),
                )
            }
            (Service::Eks, _) => world.cluster.arn.clone(),
            (Service::Iam, "GetRole") => {
                format!("arn:{partition}:iam::{account}:role/{}", text("RoleName"))
            }
            (Service::Iam, "ListRoles") => {
                let prefix = Some(text("PathPrefix")).filter(|prefix| !prefix.is_empty());
                format!(
                    "arn:{partition}:iam::{account}:role{}",
                    prefix.unwrap_or("/")
                )
            }
            (Service::Iam, "GetUser") => {
                format!("arn:{partition}:iam::{account}:user/{}", text("UserName"))
            }
            (Service::Iam, _) => {
                let prefix = Some(text("PathPrefix")).filter(|prefix| !prefix.is_empty());
                format!(
                    "arn:{partition}:iam::{account}:user{}",
                    prefix.unwrap_or("/")
                )
            }
            (Service::Sts, "AssumeRole") => text("RoleArn").to_owned(),
            (Service::Sts, _) => "*".to_owned(),
            (Service::Sqs, _) => {
                let region = &world.cluster.region;
                let name = text("QueueUrl").rsplit('/').next().unwrap_or_default();
                format!("arn:{partition}:sqs:{region}:{account}:{name}")
            }
        }
    }

    fn misfit(&self, misfit: &Misfit) -> Refusal {
        let tags =
            self.operation.name.contains("agResource") || self.operation.name.contains("TagsFor");
        let code = match (self.service, misfit) {
            (Service::Eks | Service::Sqs, Misfit::Serialization(_)) => "SerializationException",
            (Service::Iam | Service::Sts, Misfit::Serialization(_)) => "MalformedInput",
            (Service::Eks, Misfit::Constraints(_)) if tags => "BadRequestException",
            (Service::Eks, Misfit::Constraints(_)) => "InvalidParameterException",
            (Service::Sqs, Misfit::Constraints(violations)) => {
                if let Some(refusal) = unknown_attribute(violations) {
                    return refusal;
                }
                "ValidationException"
            }
            (Service::Iam | Service::Sts, Misfit::Constraints(_)) => "ValidationError",
        };
        let message = match (self.service, misfit) {
            (Service::Iam | Service::Sts, Misfit::Constraints(violations)) => {
                let violations = violations.iter().map(|it| in_lower_camel_case(it));
                Misfit::Constraints(violations.collect()).message()
            }
            _ => misfit.message(),
        };
        Refusal::new(code, 400, message)
    }

    pub(super) fn logged(&self, world: &World, outcome: Outcome, by_hand: bool) -> Call {
        Call {
            time: world.now,
            service: self.service,
            operation: self.operation.name.clone(),
            caller: self.caller.arn.clone(),
            principal: self.principal(world),
            outcome,
            by_hand,
        }
    }
}

/// SQS has an error of its own for attributes that it does not know: the only texts of a fixed set that its operations take.
fn unknown_attribute(violations: &[String]) -> Option<Refusal> {
    let of_set = |text: &&String| text.contains("satisfy enum value set");
    let name = violations.iter().find(of_set)?.split('\'').nth(1)?;
    let message = format!("Unknown Attribute {name}.");
    Some(Refusal::new("InvalidAttributeName", 400, message))
}

/// The query protocol's services name members otherwise than their models: `'roleSessionName'`.
fn in_lower_camel_case(violation: &str) -> String {
    let place = violation.rfind("' failed to satisfy").and_then(|end| {
        let start = violation[..end].rfind("at '")? + 4;
        Some((start, end))
    });
    let Some((start, end)) = place else {
        return violation.to_owned();
    };
    let names = violation[start..end].split('.').map(|name| {
        let (first, rest) = name.split_at(name.len().min(1));
        first.to_ascii_lowercase() + rest
    });
    let path = names.collect::<Vec<_>>().join(".");
    format!("{}{path}{}", &violation[..start], &violation[end..])
}

/// What the service says where a fault befalls a call.
pub(super) fn fault_refusal(service: Service, fault: Fault) -> Refusal {
    match (fault, service) {
        (Fault::Throttled, Service::Eks) => {
            Refusal::new("ThrottlingException", 429, "Rate exceeded")
        }
        (Fault::Throttled, Service::Sqs) => Refusal::new("RequestThrottled", 400, "Rate exceeded"),
        (Fault::Throttled, _) => Refusal::new("Throttling", 400, "Rate exceeded"),
        (Fault::UnheardOf, _) => Refusal::new("MoonPhaseException", 400, "The moon is waning"),
        (_, Service::Eks) => Refusal::new("ServerException", 500, "Internal server error"),
        (_, Service::Iam) => Refusal::new("ServiceFailure", 500, "Internal server error"),
        (_, _) => Refusal::new("InternalFailure", 500, "Internal server error"),
    }
}

/// Members that are null are not sent.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name, without_nulls(value)))
                .collect()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// Executes an operation of EKS for whoever holds the stand-in.
pub(super) fn by_hand(
    shared: &Shared,
    caller: &Caller,
    operation: &str,
    input: Value,
) -> Result<Value, Refusal> {
    let operation = EKS
        .operations
        .get(operation)
        .unwrap_or_else(|| panic!("EKS has no operation {operation}, or we do not serve it"));
    let Value::Object(mut input) = input else {
        panic!("the input of an operation is an object");
    };
    let mut world = shared.world();
    let members = EKS.input(operation).map(|shape| &shape.members);
    for (name, _) in members.into_iter().flatten() {
        let cluster = name == "clusterName" || (name == "name" && operation.name != "ListClusters");
        if cluster && !input.contains_key(name) {
            input.insert(name.clone(), world.cluster.name.clone().into());
        }
    }
    let request = Request {
        service: Service::Eks,
        operation,
        caller,
        input,
    };
    let mut knobs = shared.knobs();
    let answer = knobs.patiently(|knobs| request.execute(shared, &mut world, knobs));
    let outcome = match &answer {
        Ok(_) => Outcome::Done,
        Err(refusal) => Outcome::Refused(refusal.code.clone(), refusal.message.clone()),
    };
    shared.log().push(request.logged(&world, outcome, true));
    answer
}
