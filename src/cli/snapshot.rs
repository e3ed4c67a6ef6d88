//! What a command reads: a cluster and AWS, or files with the same content.
//!
//! Both give one [`Observation`], so no command knows the difference but by what it says of it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;

use crate::access_entry::EksCluster;
use crate::access_entry::{Entries, EntryState, Failure, FailureKind, read_answers};
use crate::api::IdentityMapping;
use crate::aws::Aws;
use crate::aws_auth::{AwsAuthText, Document, Entry};
use crate::cli::choices;
use crate::cli::connection::{ConfigMapArgs, Connection, ConnectionArgs, NoCluster};
use crate::cli::eks::{EksClusterArgs, IamArgs};
use crate::cli::input;
use crate::cli::output::{Progress, complain};
use crate::cli::rights::{ReadingCommand, with_missing};
use crate::cli::target::{ClusterTarget, words};
use crate::cli::which_cluster::Asked;
pub(crate) use crate::cli::which_cluster::ModeNeed;
use crate::cluster::Cluster;
use crate::cluster::api_server::ApiServer;
use crate::desired::Desired;
use crate::explain::quoted;
use crate::manifest;
use crate::observed::{
    AwsState, AwsView, Binding, Bindings, ConfigMapName, ConfigMapView, HistoryState, Iam,
    IamWants, Mode, Observed, Settings,
};
use crate::ownership::aws_managed::rests_on_answers;
use crate::plan::{Memory, Outcome, plan};
use crate::principal::{Key, PrincipalKind};
use crate::time::Timestamp;

/// So long after a change of the mode EKS may refuse what the new one has.
const AFTER_CHANGE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_secs(2);

/// Where to look: a cluster, or files.
#[derive(Args, Clone, Debug)]
pub(crate) struct ObserveArgs {
    #[arg(
        long,
        value_name = "FILE",
        help = input::AWS_AUTH_HELP,
        help_heading = "Files instead of a cluster"
    )]
    pub(crate) aws_auth: Option<PathBuf>,

    /// Access entries from a file instead of EKS: the output of `aws eks describe-access-entry` and `aws eks
    /// list-associated-access-policies`, one after the other
    #[arg(long, value_name = "FILE", help_heading = "Files instead of a cluster")]
    pub(crate) access_entries: Option<PathBuf>,

    /// Authentication mode. With files [default: `CONFIG_MAP` for --aws-auth, `API` for --access-entries, `API_AND_CONFIG_MAP` for
    /// both]. With a cluster the mode is read from EKS; `CONFIG_MAP` makes no AWS API calls
    #[arg(long, value_name = "MODE", env = "IDENTITY_MAPPER_AUTHENTICATION_MODE", value_parser = choices::mode(), ignore_case = true)]
    pub(crate) mode: Option<Mode>,

    /// ARN of the cluster, if no access entry in the files names it
    #[arg(
        long,
        value_name = "ARN",
        value_parser = cluster_arn,
        help_heading = "Files instead of a cluster"
    )]
    pub(crate) cluster_arn: Option<EksCluster>,

    #[command(flatten)]
    pub(crate) live: LiveArgs,
}

/// Which cluster, and how AWS is asked about it.
#[derive(Args, Clone, Debug)]
pub(crate) struct LiveArgs {
    #[command(flatten)]
    pub(crate) eks: EksClusterArgs,

    #[command(flatten)]
    pub(crate) iam: IamArgs,

    #[command(flatten)]
    pub(crate) config_map: ConfigMapArgs,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    /// The command, which says what has to be allowed.
    #[arg(skip)]
    pub(crate) reader: ReadingCommand,
}

/// How much of IAM a command reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IamExtent {
    /// What plans of the mappings want to know.
    Wanted,
    /// Also the principals of everything that exists in aws-auth and in access entries.
    Everyone,
    /// Also which of the access entries AWS keeps itself.
    EveryoneAndKeepers,
}

/// What exists, from a cluster or from files.
pub(crate) struct Observation {
    /// The cluster that was read; `None`: files.
    pub(crate) live: Option<Live>,
    /// The mappings, as a plan takes them.
    pub(crate) desired: Desired,
    /// The mappings that could be decoded, as objects.
    pub(crate) objects: Vec<IdentityMapping>,
    /// Everything else that a plan reads.
    pub(crate) observed: Observed,
    /// Every binding by name; empty with files.
    pub(crate) rbac: Vec<Binding>,
    /// Whether our definition is in the cluster.
    pub(crate) installed: bool,
    /// The `ConfigMap` that is meant.
    pub(crate) config_map: ConfigMapName,
    /// The text of the file that aws-auth came from, where it did.
    pub(crate) aws_auth_source: Option<manifest::Source>,
    /// The OIDC identity providers of the cluster, where EKS was asked, or why they could not be read.
    pub(crate) identity_providers: Option<Result<Vec<String>, String>>,
}

impl Observation {
    /// The OIDC identity providers of the cluster, where EKS can be asked, or why they can't be read.
    pub(crate) async fn list_identity_providers(&self) -> Option<Result<Vec<String>, String>> {
        let live = self.live.as_ref()?;
        let (aws, eks) = live.aws.as_ref().zip(live.target.eks.as_ref())?;
        let listed = aws.list_identity_providers(&eks.cluster).await;
        Some(listed.map_err(|failure| words(&failure)))
    }
}

/// A cluster that was read.
#[derive(Clone)]
pub(crate) struct Live {
    /// For what only this command asks.
    pub(crate) client: Client,
    pub(crate) cluster: Cluster,
    /// AWS, where it is asked.
    pub(crate) aws: Option<Aws>,
    pub(crate) api_server: ApiServer,
    /// What is said of it before anything is written.
    pub(crate) target: ClusterTarget,
}

impl LiveArgs {
    /// The flags with which another command reads the same cluster; each after a space.
    #[must_use]
    pub(crate) fn flags(&self) -> String {
        let connection = &self.connection;
        let config_map = &self.config_map;
        let default = ConfigMapName::default();
        let kubeconfig = connection.kubeconfig.as_ref();
        let given = [
            (
                "kubeconfig",
                kubeconfig.map(|path| path.display().to_string()),
            ),
            ("context", connection.context.clone()),
            ("cluster-name", self.eks.cluster_name.clone()),
            ("region", self.eks.region.clone()),
            (
                "config-map-namespace",
                Some(config_map.config_map_namespace.clone())
                    .filter(|namespace| *namespace != default.namespace),
            ),
            (
                "config-map-name",
                Some(config_map.config_map_name.clone()).filter(|name| *name != default.name),
            ),
        ];
        given
            .into_iter()
            .filter_map(|(flag, value)| Some(format!(" --{flag} {}", quoted(&value?))))
            .collect()
    }
}

impl ObserveArgs {
    /// The flags with which a command reads the cluster that is meant: with files, the one that they are from.
    #[must_use]
    pub(crate) fn live_flags(&self, cluster: Option<&EksCluster>) -> String {
        if let Some(cluster) = cluster.filter(|_| self.is_offline()) {
            return format!(
                " --cluster-name {} --region {}",
                quoted(&cluster.name),
                quoted(cluster.region())
            );
        }
        let mode = self.mode.filter(|_| !self.is_offline());
        let mode = mode.map_or_else(String::new, |mode| format!(" --mode {mode}"));
        self.live.flags() + &mode
    }

    /// Whether files are read in place of a cluster.
    #[must_use]
    pub(crate) fn is_offline(&self) -> bool {
        self.aws_auth.is_some() || self.access_entries.is_some()
    }

    pub(crate) async fn observe(&self, extent: IamExtent, need: ModeNeed) -> Result<Observation> {
        Box::pin(self.observe_with(extent, need, |_| ())).await
    }

    /// Looks, with something done to what is declared before IAM is asked about it.
    pub(crate) async fn observe_with(
        &self,
        extent: IamExtent,
        need: ModeNeed,
        declare: impl FnOnce(&mut Observation),
    ) -> Result<Observation> {
        if self.is_offline() {
            let mut observation = self.read_files()?;
            declare(&mut observation);
            return Ok(observation);
        }
        if let Some(cluster) = &self.cluster_arn {
            bail!(
                "--cluster-arn {} needs --aws-auth or --access-entries; name a live cluster with --cluster-name",
                cluster.arn
            );
        }
        let read = Box::pin(self.live.observe_with(self.mode, extent, need, declare)).await;
        read.map_err(|error| match error.downcast_ref::<NoCluster>() {
            Some(none) => anyhow!(
                "{none}; to read files instead, pass --aws-auth FILE (what `kubectl get configmap aws-auth -n kube-system -o yaml` \
                    prints) and --access-entries FILE"
            ),
            None => error,
        })
    }

    fn read_files(&self) -> Result<Observation> {
        let meant = ConfigMapName::from(self.live.config_map.clone());
        let read = self.aws_auth.as_deref();
        let read = read.map(|path| input::aws_auth(path, &meant)).transpose()?;
        let (source, config_map) = match read {
            Some((source, read)) => (Some(source), Some(config_map(read))),
            None => (None, None),
        };
        let answers = match &self.access_entries {
            None => None,
            Some(path) => {
                let source = input::source(path)?;
                Some(read_answers(&source.text).with_context(|| source.name.clone())?)
            }
        };
        let mode = self.mode.unwrap_or(match (&source, &answers) {
            (_, None) => Mode::ConfigMap,
            (Some(_), Some(_)) => Mode::ApiAndConfigMap,
            (None, Some(_)) => Mode::Api,
        });
        let named = answers.as_ref().and_then(|answers| answers.cluster.clone());
        let cluster = match (&self.cluster_arn, named) {
            (Some(given), Some(named)) if *given != named => bail!(
                "--cluster-arn is {}, but the access entries are from {}: give those of one cluster",
                given.arn,
                named.arn
            ),
            (Some(given), _) => Some(given.clone()),
            (None, named) => named,
        };
        if let (Mode::ConfigMap, Some(path)) = (mode, &self.access_entries) {
            complain(&format!(
                "note: mode CONFIG_MAP has no access entries: {} is ignored",
                path.display()
            ));
        }
        let now = Timestamp::now();
        let aws = match (mode, cluster) {
            (Mode::ConfigMap, None) => AwsState::Off,
            // There are no access entries in this mode, whatever a file says.
            (Mode::ConfigMap, Some(cluster)) => AwsState::Known(Box::new(AwsView::new(
                cluster,
                mode,
                Entries::default(),
                Iam::default(),
            ))),
            (_, None) => bail!(
                "mode {mode} needs the partition and account of the cluster: add --cluster-arn \
                    arn:aws:eks:REGION:ACCOUNT:cluster/NAME"
            ),
            (mode, Some(cluster)) => {
                let entries = answers.unwrap_or_default().entries.into_iter();
                let state = |entry| EntryState {
                    entry: Some(entry),
                    described: Some(now),
                    ..EntryState::default()
                };
                let entries = Entries {
                    listed: Some(now),
                    by_principal: entries.map(|(arn, entry)| (arn, state(entry))).collect(),
                    ..Entries::default()
                };
                AwsState::Known(Box::new(AwsView::new(
                    cluster,
                    mode,
                    entries,
                    Iam::default(),
                )))
            }
        };
        Ok(Observation {
            live: None,
            desired: Desired::default(),
            objects: Vec::new(),
            observed: Observed {
                now,
                config_map,
                history: HistoryState::Missing,
                bindings: Bindings::default(),
                aws,
                crd_deleting: false,
            },
            rbac: Vec::new(),
            installed: true,
            config_map: meant,
            aws_auth_source: source,
            identity_providers: None,
        })
    }
}

/// The cluster of an ARN, or what to write instead.
pub(super) fn cluster_arn(text: &str) -> Result<EksCluster, String> {
    EksCluster::parse(text).map_err(|error| {
        format!("{error}; write arn:aws:eks:eu-west-1:111122223333:cluster/NAME, as `aws eks describe-cluster` prints it")
    })
}

/// aws-auth from a file, with the annotations that are written there.
fn config_map(read: AwsAuthText) -> ConfigMapView {
    let object = read.object.map(serde_json::from_value::<ConfigMap>);
    match object {
        Some(Ok(object)) => ConfigMapView::from_object(&object),
        Some(Err(_)) | None => ConfigMapView {
            data: read.data,
            ..ConfigMapView::default()
        },
    }
}

impl LiveArgs {
    /// Reads the cluster and AWS. Nothing is written.
    pub(crate) async fn observe(
        &self,
        declared: Option<Mode>,
        extent: IamExtent,
        need: ModeNeed,
    ) -> Result<Observation> {
        Box::pin(self.observe_with(declared, extent, need, |_| ())).await
    }

    async fn observe_with(
        &self,
        declared: Option<Mode>,
        extent: IamExtent,
        need: ModeNeed,
        declare: impl FnOnce(&mut Observation),
    ) -> Result<Observation> {
        let config_map = ConfigMapName::from(self.config_map.clone());
        let Connection {
            client,
            url,
            route,
            context,
            api_server,
            token_for,
        } = self.connection.clone().connect().await?;
        let cluster = Cluster::new(client.clone(), config_map.clone(), "");
        // What is wrong with the flags is said before anything is read.
        let asked = Asked::of(declared, &self.eks, token_for, need, self.reader)?;
        let reading = match Box::pin(cluster.read()).await {
            Ok(reading) => reading,
            Err(error) => {
                let error = with_missing(error, &client, self.reader, &config_map).await;
                return Err(route.failed(error));
            }
        };
        let asked = match asked {
            Asked::Unsaid => Asked::kept(&reading, (&cluster, &client), need, self.reader).await?,
            said => said,
        };
        let aws = asked.connect(&self.eks, &self.iam).await?;
        let mut target = ClusterTarget {
            url,
            context,
            config_map: config_map.clone(),
            eks: None,
        };
        let desired = Desired {
            mappings: reading.mappings,
        };
        let observed = Observed {
            now: Timestamp::now(),
            config_map: reading.config_map,
            history: reading
                .history
                .map_or(HistoryState::Missing, HistoryState::Present),
            bindings: reading.bindings,
            aws: AwsState::Off,
            crd_deleting: reading.crd_deleting,
        };
        let mut observation = Observation {
            live: None,
            desired,
            objects: reading.objects,
            observed,
            rbac: reading.rbac,
            installed: reading.installed,
            config_map,
            aws_auth_source: None,
            identity_providers: None,
        };
        declare(&mut observation);
        let aws = match aws {
            None => None,
            Some((aws, name)) => {
                Box::pin(survey(
                    &mut observation,
                    &mut target,
                    &aws,
                    &name,
                    &api_server,
                    extent,
                ))
                .await?;
                Some(aws)
            }
        };
        observation.live = Some(Live {
            client,
            cluster,
            aws,
            api_server,
            target,
        });
        Ok(observation)
    }
}

/// Reads EKS and IAM into the observation, once the cluster is proven.
async fn survey(
    observation: &mut Observation,
    target: &mut ClusterTarget,
    aws: &Aws,
    name: &str,
    api_server: &ApiServer,
    extent: IamExtent,
) -> Result<()> {
    let proven = target.prove(aws, name, api_server).await?;
    let mut seen = AwsView::new(
        proven.cluster,
        proven.mode,
        Entries::default(),
        Iam::default(),
    );
    seen.authority = proven.authority;
    if seen.mode != Mode::ConfigMap {
        let entries = Box::pin(entries(aws, &seen.cluster)).await;
        let entries = entries
            .map_err(|failure| anyhow!("the access entries can't be read: {}", words(&failure)))?;
        seen.entries = Arc::new(entries);
        seen.policies = aws.survey_policies().await;
    }
    observation.observed.aws = AwsState::Known(Box::new(seen.clone()));
    let settings = Settings {
        config_map: observation.config_map.clone(),
        ..Settings::default()
    };
    let report = plan(
        &observation.desired,
        &observation.observed,
        &settings,
        &Memory::default(),
    )
    .report(&Outcome::NothingToWrite);
    let mut wants = report.iam;
    if extent != IamExtent::Wanted {
        want_everyone(&mut wants, &observation.observed, &seen);
    }
    let states = seen.entries.by_principal.values();
    let mut entries = states.filter_map(EntryState::known);
    let keepers = extent == IamExtent::EveryoneAndKeepers && entries.any(rests_on_answers);
    if report.managed || keepers {
        let managed = Box::pin(aws.survey_users(&seen.cluster, proven.users)).await;
        seen.managed = Arc::new(managed);
    }
    seen.iam = Arc::new(aws.survey_iam(&wants).await);
    observation.observed.aws = AwsState::Known(Box::new(seen));
    Ok(())
}

/// Every access entry. For a while after the mode was changed EKS still says that there are none.
async fn entries(aws: &Aws, cluster: &EksCluster) -> Result<Entries, Failure> {
    let mut progress = Progress::new("access entries read");
    let started = Instant::now();
    loop {
        let surveyed = aws.survey_entries(cluster, |done, total| progress.set(done, total));
        match Box::pin(surveyed).await {
            Err(failure)
                if failure.kind == FailureKind::ModeWithoutEntries
                    && started.elapsed() < AFTER_CHANGE =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            surveyed => return surveyed,
        }
    }
}

/// The accounts of all principals that stand in either backend.
fn want_everyone(wants: &mut IamWants, observed: &Observed, seen: &AwsView) {
    let document = observed
        .config_map
        .as_ref()
        .map(|view| Document::parse(&view.data));
    let in_text = document.iter().flat_map(Document::entries);
    let in_text = in_text.filter_map(Entry::key);
    let in_eks = seen.entries.by_principal.keys();
    let in_eks = in_eks.filter_map(|arn| Key::parse_arn(arn));
    let keys: BTreeSet<Key> = in_text.chain(in_eks).collect();
    for key in keys {
        match key.kind() {
            PrincipalKind::Role => wants.roles.insert(key.account().clone()),
            PrincipalKind::User => wants.users.insert(key.account().clone()),
        };
    }
}
