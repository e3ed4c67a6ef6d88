//! `identity-mapper explain ARN…`: whether somebody has access, as what, and what that one may do; or why not, and how to fix it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde::Serialize;

use super::connection::TokenFor;
use super::output::{self, Format, visible};
use super::target::words;
use crate::aws::{Aws, AwsSettings, IamRoles};
use crate::cli::query_context::Looked;
use crate::cli::snapshot::{IamExtent, Live, ModeNeed, Observation, ObserveArgs};
use crate::cluster::read::Unreadable;
use crate::cluster::review::{find_resource, may, may_i, who_am_i};
use crate::effective::in_iam;
use crate::error::Category;
use crate::explain::{
    Bound, Caller, EntryPlace, Explainer, Explanation, Fix, Identity, Object, PassedOver,
    PermissionAnswer, Question, way_in,
};
use crate::observed::{IamWants, Mode};
use crate::principal::Principal;

/// Explain whether a principal has access, as which user, and why
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// ARNs of IAM roles or users, or of sessions as `aws sts get-caller-identity` prints them
    #[arg(value_name = "ARN", required_unless_present = "me")]
    callers: Vec<String>,

    /// Use the identity of the current AWS credentials (sts:GetCallerIdentity)
    #[arg(long)]
    me: bool,

    /// Check one permission, with the verb and resource as kubectl takes them: `--can list pods`, `--can get deployments.apps/NAME`,
    /// `--can create pods/exec`, `--can get /metrics`
    #[arg(long, num_args = 2, value_names = ["VERB", "RESOURCE"], help_heading = "Permission check")]
    can: Vec<String>,

    /// Namespace for --can [default: all namespaces]
    #[arg(short, long, requires = "can", help_heading = "Permission check")]
    namespace: Option<String>,

    /// Subresource for --can, such as `log`
    #[arg(long, requires = "can", help_heading = "Permission check")]
    subresource: Option<String>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    #[command(flatten)]
    observe: ObserveArgs,
}

/// What is printed of one caller.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained {
    #[serde(flatten)]
    explanation: Explanation,
    /// The API server's own answer, for `--me`.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_server: Option<ApiServerIdentity>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    can: Vec<PermissionAnswer>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiServerIdentity {
    username: String,
    groups: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    explanations: Vec<Explained>,
}

struct QueriedCaller {
    caller: Caller,
    /// What STS says of it, where it is whoever asks.
    user_id: Option<String>,
}

/// The exit code is 1 where a principal has no access, or lacks the permission asked for.
pub(crate) async fn explain(args: ExplainArgs) -> Result<ExitCode> {
    let ExplainArgs {
        callers,
        me,
        can,
        namespace,
        subresource,
        output,
        observe,
    } = args;
    let mut asked = Vec::new();
    for arn in &callers {
        asked.push(QueriedCaller {
            caller: Caller::parse(arn)?,
            user_id: None,
        });
    }
    if !can.is_empty() && observe.is_offline() {
        bail!(
            "--can asks the API server, which is not available with files: remove --aws-auth and --access-entries"
        );
    }
    let observation = match (
        Box::pin(observe.observe(IamExtent::Everyone, ModeNeed::Optional)).await,
        me,
    ) {
        (Ok(observation), _) => observation,
        (Err(error), false) => return Err(error),
        (Err(error), true) => return Err(refused(error, &observe).await),
    };
    if me {
        let aws = observation.live.as_ref().and_then(|live| live.aws.clone());
        asked.push(myself(aws, &observe).await?);
    }
    let live = observation.live.as_ref();
    let question = match (can.as_slice(), live) {
        ([verb, resource], Some(live)) => {
            Some(question(live, verb, resource, namespace, subresource).await?)
        }
        _ => None,
    };
    let looked = Looked::new(&observation);
    let door = Explainer::new(looked.scene());
    let mut explained = Vec::new();
    for QueriedCaller { caller, user_id } in &asked {
        let explanation = door.explain(caller, user_id.as_deref());
        explained.push(
            ask(
                &observation,
                explanation,
                user_id.is_some(),
                question.as_ref(),
            )
            .await?,
        );
    }
    let fine = explained.iter().all(|explained| {
        explained.explanation.has_access && explained.can.iter().all(PermissionAnswer::is_yes)
    });
    let printed = match output {
        Format::Json => output::json(&shown(&door, explained))?,
        Format::Yaml => output::yaml(&shown(&door, explained))?,
        Format::Text => {
            let texts: Vec<String> = explained.iter().map(text).collect::<Result<_>>()?;
            texts.join("\n")
        }
    };
    output::print(&printed)?;
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn shown(door: &Explainer<'_>, explanations: Vec<Explained>) -> ExplainDocument {
    ExplainDocument {
        mode: door.mode().map(Mode::as_str),
        explanations,
    }
}

/// The identity of the current AWS credentials.
async fn myself(aws: Option<Aws>, observe: &ObserveArgs) -> Result<QueriedCaller> {
    let aws = match aws {
        Some(aws) => aws,
        None => {
            Aws::connect(&AwsSettings {
                region: observe.live.eks.region.clone(),
                iam_roles: IamRoles::default(),
                ..AwsSettings::default()
            })
            .await?
        }
    };
    let identity = aws
        .identity()
        .await
        .map_err(|failure| anyhow!("--me: STS did not return the caller: {}", words(&failure)))?;
    Ok(QueriedCaller {
        caller: Caller::parse(&identity.arn)?,
        user_id: Some(identity.user_id.clone()),
    })
}

/// For a caller that may not read its own access: its identity in AWS and at the API server, and what to ask for.
async fn refused(error: anyhow::Error, observe: &ObserveArgs) -> anyhow::Error {
    let forbidden = error.chain().any(|cause| {
        cause
            .downcast_ref::<Unreadable>()
            .is_some_and(|unreadable| unreadable.error.category == Category::Forbidden)
    });
    if !forbidden {
        return error;
    }
    let Ok(me) = myself(None, observe).await else {
        return error;
    };
    let arn = &me.caller.arn;
    let ask = format!("ask a cluster administrator to run: identity-mapper explain {arn}");
    let Ok(connection) = observe.live.connection.clone().connect().await else {
        return error;
    };
    match who_am_i(&connection.client).await {
        Ok(user) => error.context(format!(
            "you are {arn} to AWS; the API server grants you access as {:?} in groups {}, but you may not read why; {ask}",
            user.username.unwrap_or_default(),
            user.groups.unwrap_or_default().join(", "),
        )),
        Err(denied) if denied.category == Category::Forbidden => {
            let mut words =
                format!("you are {arn} to AWS; the API server does not grant you access; {ask}");
            if let Some(commands) = by_iam(observe, connection.token_for, &me.caller).await {
                let _ = write!(
                    words,
                    "\nwithout one, anyone with these IAM permissions can make you an administrator (the change of mode can't \
                        be undone):\n  {}\n",
                    commands.join("\n  ")
                );
            }
            error.context(words)
        }
        Err(_) => error,
    }
}

/// The commands that make an administrator of a caller by the rights of IAM alone, where EKS says in which mode the cluster is.
async fn by_iam(
    observe: &ObserveArgs,
    token_for: Option<TokenFor>,
    caller: &Caller,
) -> Option<Vec<String>> {
    let looked_for = observe
        .live
        .aws(observe.mode, token_for, ModeNeed::Optional);
    let (aws, name) = looked_for.await.ok()??;
    let read = aws.describe_cluster(&name).await.ok()?;
    let mut principal = Principal::parse(&caller.canonical).ok()?;
    // EKS wants the path, which STS does not tell.
    let wants = IamWants {
        roles: BTreeSet::from([principal.account.clone()]),
        ..IamWants::default()
    };
    let iam = aws.survey_iam(&wants).await;
    if let Some(found) = in_iam(&principal, &iam) {
        principal = Principal::parse(&found.arn).ok()?;
    }
    Some(way_in(&read.cluster, read.mode, &principal.arn()))
}

/// The question, with the resource as the API server knows it.
async fn question(
    live: &Live,
    verb: &str,
    resource: &str,
    namespace: Option<String>,
    subresource: Option<String>,
) -> Result<Question> {
    let verb = verb.to_owned();
    if resource.starts_with('/') {
        if let Some(namespace) = namespace {
            bail!("{resource} is not namespaced: remove -n {namespace}");
        }
        return Ok(Question {
            verb,
            object: Object::Path {
                path: resource.to_owned(),
            },
        });
    }
    let (word, rest) = match resource.split_once('/') {
        Some((word, rest)) => (word, Some(rest.to_owned())),
        None => (resource, None),
    };
    let found = find_resource(&live.client, word)
        .await
        .map_err(|error| anyhow!("the API server's resources can't be listed: {error}"))?
        .with_context(|| {
            format!("the API server has no resource {word:?}: `kubectl api-resources` lists its resources")
        })?;
    if let (Some(namespace), false) = (&namespace, found.namespaced) {
        bail!(
            "{} are not namespaced: remove -n {namespace}",
            found.resource
        );
    }
    // `pods/exec` is the subresource to everyone, though a Pod could be called so.
    let is_subresource = subresource.is_none()
        && rest
            .as_ref()
            .is_some_and(|rest| found.subresources.contains(rest));
    let (subresource, name) = if is_subresource {
        (rest, None)
    } else {
        (subresource, rest)
    };
    if let Some(subresource) = &subresource
        && !found.subresources.contains(subresource)
    {
        bail!(
            "{} have no subresource {subresource:?}; their subresources: {}",
            found.resource,
            found.subresources.join(", ")
        );
    }
    Ok(Question {
        verb,
        object: Object::Resource {
            group: found.group,
            resource: found.resource,
            subresource,
            name,
            namespace,
            namespaced: found.namespaced,
        },
    })
}

/// Asks the API server what only it knows.
async fn ask(
    observation: &Observation,
    mut explanation: Explanation,
    me: bool,
    question: Option<&Question>,
) -> Result<Explained> {
    let mut said = None;
    let mut can = Vec::new();
    if let Some(live) = &observation.live {
        if me {
            let user = who_am_i(&live.client)
                .await
                .context("the API server did not return the caller's identity")?;
            let user = ApiServerIdentity {
                username: user.username.unwrap_or_default(),
                groups: user.groups.unwrap_or_default(),
            };
            let expected = explanation.identities.iter();
            let expected = expected.filter(|identity| !identity.is_open());
            if explanation.has_access
                && expected.clone().count() > 0
                && expected
                    .clone()
                    .all(|identity| identity.username != user.username)
            {
                explanation.notes.push(format!(
                    "the API server knows the kubeconfig's user as {:?}: the kubeconfig uses other credentials than these AWS \
                        credentials, or the API server cached an earlier login",
                    user.username
                ));
            }
            said = Some(user);
        }
        if let Some(question) = question {
            can = answers(live, &explanation, me, question).await?;
        }
    }
    Ok(Explained {
        explanation,
        api_server: said,
        can,
    })
}

async fn answers(
    live: &Live,
    explanation: &Explanation,
    me: bool,
    question: &Question,
) -> Result<Vec<PermissionAnswer>> {
    let cannot = || format!("the API server did not answer who can {question}");
    if me {
        let review = may_i(&live.client, question).await.with_context(cannot)?;
        let identity = explanation.identities.first();
        return Ok(vec![PermissionAnswer::for_self(
            question.clone(),
            identity,
            review.allowed,
            review.words,
        )]);
    }
    let mut answers = Vec::new();
    for identity in &explanation.identities {
        let groups = identity.all_groups();
        let review = may(&live.client, &identity.username, groups, question)
            .await
            .with_context(cannot)?;
        answers.push(PermissionAnswer::for_other(
            question.clone(),
            identity,
            review.allowed,
            review.words,
        ));
    }
    Ok(answers)
}

fn text(explained: &Explained) -> Result<String> {
    let Explained {
        explanation,
        api_server,
        can,
    } = explained;
    let mut lines = FieldLines::default();
    lines.title(&explanation.caller);
    if explanation.resolved_to != explanation.caller {
        lines.field("resolved to", &explanation.resolved_to);
    }
    if let Some(refusal) = &explanation.refusal {
        lines.field("has access", "no");
        lines.field("why", refusal);
    }
    for (number, identity) in explanation.identities.iter().enumerate() {
        let by = if number == 0 { "access by" } else { "or by" };
        lines.field(by, &at(&identity.place, &identity.principal));
        identity_lines(&mut lines, identity);
    }
    if let Some(said) = api_server {
        lines.field(
            "API server",
            &format!(
                "{} in groups {}",
                visible(&said.username),
                said.groups.join(", ")
            ),
        );
    }
    for answer in can {
        lines.field("allowed", &answer.to_string());
        if let Some(words) = &answer.words {
            lines.more(words);
        }
        if let Some(fix) = &answer.fix {
            fix_lines(&mut lines, fix)?;
        }
    }
    for cause in &explanation.causes {
        lines.field("likely cause", &cause.message);
        if let Some(fix) = &cause.fix {
            fix_lines(&mut lines, fix)?;
        }
    }
    for (
        number,
        PassedOver {
            principal,
            place,
            why,
        },
    ) in explanation.passed_over.iter().enumerate()
    {
        let line = format!("{}: {why}", at(place, principal));
        lines.numbered(number, "not used", &line);
    }
    for (number, note) in explanation.notes.iter().enumerate() {
        lines.numbered(number, "note", note);
    }
    Ok(lines.0)
}

/// An entry, for people: they know an access entry by its principal, not by its own ARN.
fn at(place: &EntryPlace, principal: &str) -> String {
    match place {
        EntryPlace::AwsAuth { .. } => format!("{place}: {}", visible(principal)),
        EntryPlace::AccessEntry(_) => format!("access entry of {}", visible(principal)),
    }
}

fn identity_lines(lines: &mut FieldLines, identity: &Identity) {
    lines.field("username", &visible(&identity.username));
    let groups: Vec<String> = identity
        .all_groups()
        .iter()
        .map(|group| visible(group))
        .collect();
    lines.field("groups", &groups.join(", "));
    for (number, policy) in identity.access_policies.iter().enumerate() {
        lines.numbered(number, "access policies", &policy.to_string());
    }
    lines.field(
        "administrator",
        &match (&identity.administrator, &identity.possible_administrator) {
            (Some(what), _) => format!("yes: {what}"),
            (None, Some(what)) => format!("possibly: a login can become {what}"),
            (None, None) => "no".to_owned(),
        },
    );
    if identity.node {
        lines.field("node", "yes");
    }
    match &identity.bindings {
        None => lines.field("RBAC", "not read"),
        Some(bindings) if bindings.is_empty() => lines.field("RBAC", "no binding"),
        Some(bindings) => {
            for (number, bound) in bindings.iter().enumerate() {
                lines.numbered(number, "RBAC", &bound_line(bound));
            }
        }
    }
    if !identity.unbound_groups.is_empty() {
        lines.more(&format!(
            "no binding names {}",
            identity.unbound_groups.join(", ")
        ));
    }
    if let Some(declared) = &identity.declared {
        let until = declared
            .until
            .map_or_else(String::new, |until| format!(", until {until}"));
        lines.field("mapping", &format!("{}{until}", declared.mapping));
    }
}

fn bound_line(bound: &Bound) -> String {
    visible(&bound.to_string())
}

fn fix_lines(lines: &mut FieldLines, fix: &Fix) -> Result<()> {
    lines.field("fix", &fix.text);
    for command in &fix.commands {
        lines.more(&format!("  {command}"));
    }
    let manifest = fix.manifest.as_ref().map(output::yaml).transpose()?;
    for block in fix.entry.iter().chain(&manifest) {
        for line in block.lines() {
            lines.more(&format!("  {line}"));
        }
    }
    Ok(())
}

/// Lines of a field and its value, in two columns.
#[derive(Default)]
struct FieldLines(String);

impl FieldLines {
    const WIDTH: usize = 16;

    fn title(&mut self, title: &str) {
        self.0.push_str(title);
        self.0.push('\n');
    }

    fn field(&mut self, name: &str, value: &str) {
        let width = Self::WIDTH;
        // Writing to a text never fails.
        let _ = writeln!(self.0, "  {name:<width$}  {value}");
    }

    fn more(&mut self, value: &str) {
        self.field("", value);
    }

    fn numbered(&mut self, number: usize, name: &str, value: &str) {
        self.field(if number == 0 { name } else { "" }, value);
    }
}
