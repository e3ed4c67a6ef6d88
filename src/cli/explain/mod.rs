//! `identity-mapper explain ARN…`: whether a principal has access, as which user, and why; or why not, and how to fix it.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde::Serialize;

use super::connection::TokenFor;
use super::fleet::{self, FleetArgs, read_all};
use super::output::{self, Format};
use super::rights::{ReadingCommand, is_forbidden};
use super::target::words;
use crate::aws::{Aws, AwsSettings, IamRoles};
use crate::aws_auth::Document;
use crate::cli::query_context::{Looked, flags};
use crate::cli::snapshot::{IamExtent, Live, LiveArgs, ModeNeed, Observation, ObserveArgs};
use crate::cli::which_cluster::Asked;
use crate::cluster::review::{find_resource, may, may_i, who_am_i};
use crate::effective::in_iam;
use crate::error::Category;
use crate::explain::{
    Caller, Explainer, Explanation, Object, PermissionAnswer, Question, is_typo, unknown_verb,
    way_in,
};
use crate::observed::{IamWants, Mode};
use crate::principal::{Key, Principal, PrincipalKind, some_of};
use crate::time::Timestamp;
use crate::yaml::almost;

/// Explain whether a principal has access, as which user, and why
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// ARNs of IAM roles or users, or of sessions as `aws sts get-caller-identity` prints them; or names of mappings, roles or users
    #[arg(value_name = "ARN|NAME", required_unless_present = "me")]
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

    #[command(flatten)]
    fleet: FleetArgs,
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
    /// What STS says of it, where it is the caller of our own credentials.
    user_id: Option<String>,
}

/// The exit code is 1 where a principal has no access, or lacks the permission asked for.
pub(crate) async fn explain(mut args: ExplainArgs) -> Result<ExitCode> {
    args.observe.live.reader = if args.can.is_empty() || args.me {
        ReadingCommand::Explain
    } else {
        ReadingCommand::ExplainCan
    };
    let observe = &args.observe;
    for arn in args.callers.iter().filter(|word| is_arn(word)) {
        Caller::parse(arn)?;
    }
    if let Some(clusters) = args.fleet.clusters(&observe.live, observe.is_offline())? {
        let read = async |live| {
            let observe = ObserveArgs {
                live,
                ..observe.clone()
            };
            Box::pin(report(&args, &observe)).await
        };
        let outcomes = read_all(clusters, read).await;
        fleet::print(&outcomes, args.output, &text::COLUMNS, text::rows)?;
        return Ok(fleet::exit_code(&outcomes, ExplainDocument::exit_code));
    }
    let document = Box::pin(report(&args, observe)).await?;
    let printed = match args.output {
        Format::Json => output::json(&document)?,
        Format::Yaml => output::yaml(&document)?,
        Format::Text => {
            let texts = document.explanations.iter().map(text::text);
            texts.collect::<Result<Vec<_>>>()?.join("\n")
        }
    };
    output::print(&printed)?;
    Ok(ExitCode::from(document.exit_code()))
}

impl ExplainDocument {
    /// Whether everyone has access, and the permission that was asked for.
    fn exit_code(&self) -> u8 {
        let fine = self.explanations.iter().all(|explained| {
            explained.explanation.has_access && explained.can.iter().all(PermissionAnswer::is_yes)
        });
        u8::from(!fine)
    }
}

/// The answers of one cluster, or of files.
async fn report(args: &ExplainArgs, observe: &ObserveArgs) -> Result<ExplainDocument> {
    let ExplainArgs {
        callers,
        me,
        can,
        namespace,
        subresource,
        output: _,
        fleet: _,
        observe: _,
    } = args;
    let me = *me;
    if !can.is_empty() && observe.is_offline() {
        bail!(
            "--can asks the API server, which is not available with files: remove --aws-auth and --access-entries"
        );
    }
    let observation = match (
        Box::pin(observe.observe(IamExtent::Everyone, ModeNeed::Required)).await,
        me,
    ) {
        (Ok(observation), _) => observation,
        (Err(error), false) => return Err(error),
        (Err(error), true) => return Err(refused(error, observe).await),
    };
    let mut asked = Vec::new();
    for word in callers {
        let meant = if is_arn(word) {
            vec![word.clone()]
        } else {
            arns_of(&observation, word)?
        };
        for arn in &meant {
            asked.push(QueriedCaller {
                caller: Caller::parse(arn)?,
                user_id: None,
            });
        }
    }
    if me {
        let aws = observation.live.as_ref().and_then(|live| live.aws.clone());
        asked.push(myself(aws, observe).await?);
    }
    let live = observation.live.as_ref();
    let question = match (can.as_slice(), live) {
        ([verb, resource], Some(live)) => {
            let (namespace, subresource) = (namespace.clone(), subresource.clone());
            Some(question(live, verb, resource, namespace, subresource).await?)
        }
        _ => None,
    };
    let looked = Looked::new(&observation, flags(observe, &observation));
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
    Ok(ExplainDocument {
        mode: door.mode().map(Mode::as_str),
        explanations: explained,
    })
}

/// So wide is the list of names that may be meant.
const MOST_NAMES: usize = 120;

/// Whether a word is an ARN, or meant as one; names of IAM and Kubernetes have no colon.
fn is_arn(word: &str) -> bool {
    word.contains(':')
}

/// The principals that a name can mean: of the mapping, else of the roles and users in either backend and in IAM.
fn arns_of(observation: &Observation, name: &str) -> Result<Vec<String>> {
    let mut mappings = observation.desired.mappings.iter();
    if let Some(mapping) = mappings.find(|mapping| mapping.name == name) {
        let principal = mapping.principal.as_ref().map(Principal::arn);
        let arn = principal.or_else(|| mapping.status.principal_arn.clone());
        return Ok(vec![arn.with_context(|| {
            format!(
                "the principal of mapping {name} is not known yet: `kubectl describe identitymapping {name}` shows why"
            )
        })?]);
    }
    let (kind, bare) = match name.split_once('/') {
        Some(("role", bare)) => (Some(PrincipalKind::Role), bare),
        Some(("user", bare)) => (Some(PrincipalKind::User), bare),
        _ => (None, name),
    };
    let bare = bare.rsplit('/').next().unwrap_or_default();
    let observed = &observation.observed;
    let data = observed.config_map.as_ref().map(|view| &view.data);
    let document = data.map(Document::parse);
    let entries = document.iter().flat_map(Document::entries);
    let mut known: Vec<String> = entries.map(|entry| entry.arn.clone()).collect();
    if let Some(view) = observed.aws.view() {
        let accounts = view.iam.accounts.values();
        let listings = accounts.flat_map(|account| [&account.sso, &account.roles, &account.users]);
        let listed = listings
            .flatten()
            .filter_map(|listing| listing.principals.get(&bare.to_lowercase()));
        known.extend(listed.map(|principal| principal.arn.clone()));
        known.extend(view.entries.by_principal.keys().cloned());
    }
    // The last one of a key has its path where IAM or EKS tells it.
    let mut found: BTreeMap<Key, String> = BTreeMap::new();
    let mut near = BTreeSet::new();
    for arn in known {
        let Some(key) =
            Key::parse_arn(&arn).filter(|key| kind.is_none_or(|kind| key.kind() == kind))
        else {
            continue;
        };
        if key.name().eq_ignore_ascii_case(bare) {
            found.insert(key, arn);
        } else if almost(key.name(), bare) || is_typo(&bare.to_lowercase(), key.name()) {
            near.insert(key.name().to_owned());
        }
    }
    if found.is_empty() {
        let mappings = observation.desired.mappings.iter();
        let mappings =
            mappings.filter(|mapping| almost(&mapping.name, name) || is_typo(name, &mapping.name));
        near.extend(mappings.map(|mapping| mapping.name.clone()));
        let near: Vec<String> = near.into_iter().collect();
        let hint = match near.as_slice() {
            [] => "give its ARN, such as arn:aws:iam::111122223333:role/NAME".to_owned(),
            near => format!("did you mean {}?", some_of(near, MOST_NAMES)),
        };
        bail!("no mapping, and no role or user with an entry, is called {name:?}; {hint}");
    }
    Ok(found.into_values().collect())
}

/// The identity of the current AWS credentials.
async fn myself(aws: Option<Aws>, observe: &ObserveArgs) -> Result<QueriedCaller> {
    let aws = match aws {
        Some(aws) => aws,
        None => {
            Aws::connect(&AwsSettings {
                region: observe.live.eks.region.clone(),
                assumed_role: observe.live.eks.assumed_role.clone(),
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
    if !is_forbidden(&error) {
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
    let LiveArgs { eks, iam, .. } = &observe.live;
    let asked = Asked::of(
        observe.mode,
        eks,
        token_for,
        ModeNeed::Required,
        observe.live.reader,
    )
    .ok()?;
    let (aws, name) = asked.connect(eks, iam).await.ok()??;
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
    let is_path = resource.starts_with('/');
    if let Some(note) = unknown_verb(verb, is_path) {
        output::complain(&note);
    }
    let verb = verb.to_owned();
    if is_path {
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
            can = answers(live, &explanation, me, question, observation.observed.now).await?;
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
    now: Timestamp,
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
            now,
        ));
    }
    Ok(answers)
}
