//! Carries out the handover: the operator does it if it is installed, otherwise the same loop in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::SignedDuration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::finalizer::Finalizers;
use crate::aws::Aws;
use crate::cli::rights::ReadingCommand;
use crate::cli::snapshot::{IamExtent, Live, LiveArgs, ModeNeed};
use crate::cli::target::Proven;
use crate::cluster::read::ClusterSnapshot;
use crate::controller::health::Health;
use crate::controller::metrics::Metrics;
use crate::controller::{Controller, EksSettings, Imply, Periods, Turn, Turns};
use crate::desired::{Desired, Mapping};
use crate::migrate::{Bridge, Way, implied};
use crate::observed::{AwsState, ConfigMapName, Handover, HistoryState, Observed, Settings};
use crate::plan::{Memory, Outcome, WriteFailure, plan};
use crate::time::Timestamp;

/// Maximum interval between plans of our own loop, so that what is asked of it now is planned for soon.
const RESYNC: Duration = Duration::from_secs(5);

/// Interval at which the operator's statuses are read.
const LOOKS: Duration = Duration::from_secs(2);

/// How the handover is made where no operator is installed.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandoverPace {
    pub(super) soak: SignedDuration,
    pub(super) propagation: SignedDuration,
    pub(super) listing: Duration,
}

/// What was read in one moment.
pub(super) struct Look {
    pub(super) desired: Desired,
    pub(super) observed: Observed,
    pub(super) bridge: Bridge,
    /// Whether everything of EKS was read for it.
    pub(super) whole: bool,
}

pub(super) struct Worker {
    args: LiveArgs,
    way: Way,
    settings: Settings,
    listing: Duration,
    /// Whether an operator is installed, which then works.
    pub(super) installed: bool,
    pub(super) live: Live,
    aws_state: AwsState,
    whole: Option<Look>,
    own: Option<Own>,
    /// What our own loop left when it ended.
    last: Option<Arc<Turn>>,
}

struct Own {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    turns: Turns,
    closed: Arc<AtomicBool>,
}

impl Worker {
    /// Reads the cluster for the first time.
    pub(super) async fn begin(mut args: LiveArgs, way: Way, pace: HandoverPace) -> Result<Self> {
        args.reader = ReadingCommand::Migrate;
        let config_map = ConfigMapName::from(args.config_map.clone());
        if config_map != ConfigMapName::default() {
            bail!(
                "{config_map} is a copy: EKS reads only {}, so removing entries from the copy hands nothing over. Remove \
                    --config-map-namespace and --config-map-name",
                ConfigMapName::default()
            );
        }
        let settings = Settings {
            config_map,
            handover: match way {
                Way::Forth => Handover::Auto,
                Way::Back => Handover::Revert,
            },
            soak: pace.soak,
            propagation: pace.propagation,
            ..Settings::default()
        };
        let observation = Box::pin(args.observe(None, IamExtent::Everyone, ModeNeed::Eks));
        let observation = observation.await?;
        let live = observation.live.context("a cluster was read")?;
        let mut worker = Self {
            args,
            way,
            settings,
            listing: pace.listing,
            installed: observation.installed,
            aws_state: observation.observed.aws.clone(),
            whole: None,
            own: None,
            last: None,
            live,
        };
        let look = worker
            .look_of(observation.desired, observation.observed, true)
            .await?;
        worker.whole = Some(look);
        Ok(worker)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The value of the installation tag.
    pub(super) fn installation(&self) -> String {
        self.settings.config_map.to_string()
    }

    /// AWS, and the cluster that was proven.
    pub(super) fn eks(&self) -> Result<(&Aws, &Proven)> {
        let aws = self.live.aws.as_ref();
        let proven = self.live.target.eks.as_ref();
        aws.zip(proven)
            .context("a migration needs EKS: add --cluster-name")
    }

    /// Reads what is new: what was read whole and not evaluated yet; by our own loop where it runs; else the cluster, with what was last read
    /// of EKS.
    pub(super) async fn look(&mut self) -> Result<Look> {
        if let Some(look) = self.whole.take() {
            return Ok(look);
        }
        if let Some(own) = &self.own {
            return self.look_at_turn(own).await;
        }
        let reading = Box::pin(self.live.cluster.read()).await?;
        if reading.installed != self.installed {
            bail!(CHANGED);
        }
        let (desired, observed) = self.of_reading(reading);
        self.look_of(desired, observed, false).await
    }

    /// Reads everything anew, EKS and IAM included. Our own loop is stopped first.
    pub(super) async fn refresh(&mut self) -> Result<()> {
        self.stop().await;
        let look = self.look_whole().await?;
        self.whole = Some(look);
        Ok(())
    }

    async fn look_whole(&mut self) -> Result<Look> {
        let observed = Box::pin(self.args.observe(None, IamExtent::Everyone, ModeNeed::Eks));
        let observation = observed.await?;
        self.live = observation.live.context("a cluster was read")?;
        if observation.installed != self.installed {
            bail!(CHANGED);
        }
        self.aws_state = observation.observed.aws.clone();
        self.look_of(observation.desired, observation.observed, true)
            .await
    }

    fn of_reading(&self, reading: ClusterSnapshot) -> (Desired, Observed) {
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
            aws: self.aws_state.clone(),
            crd_deleting: reading.crd_deleting,
        };
        (desired, observed)
    }

    async fn look_of(&self, desired: Desired, observed: Observed, whole: bool) -> Result<Look> {
        let desired = if self.installed {
            desired
        } else {
            implied_by(&observed, &self.settings, self.way)
        };
        Ok(Look {
            desired,
            observed,
            bridge: self.bridge().await?,
            whole,
        })
    }

    /// The bridge as it is now.
    pub(super) async fn bridge(&self) -> Result<Bridge> {
        let bridge = self.live.cluster.bridge().await;
        bridge.context("the temporary ClusterRoleBinding can't be read")
    }

    async fn look_at_turn(&self, own: &Own) -> Result<Look> {
        let mut turns = own.turns.clone();
        let turn = turns.wait_for(Option::is_some).await;
        let turn = turn
            .map_err(|_| anyhow!("the handover loop has ended; run the same command again"))?
            .clone();
        let turn = turn.context("it was waited for")?;
        if turn.installed {
            bail!(CHANGED);
        }
        if let Outcome::Failed(
            WriteFailure::Denied(words)
            | WriteFailure::Forbidden(words)
            | WriteFailure::Invalid(words),
        ) = &turn.outcome
        {
            bail!("{} can't be written: {words}", self.settings.config_map);
        }
        self.of_turn(&turn).await
    }

    async fn of_turn(&self, turn: &Turn) -> Result<Look> {
        Ok(Look {
            desired: turn.desired.clone(),
            observed: turn.observed.clone(),
            bridge: self.bridge().await?,
            whole: false,
        })
    }

    /// What our own loop left when it ended: all that it began is in there. `None`: it did not run.
    pub(super) async fn last(&self) -> Result<Option<Look>> {
        match &self.last {
            Some(turn) => Ok(Some(self.of_turn(turn).await?)),
            None => Ok(None),
        }
    }

    /// Begins to hand over, where that is our own business and has not begun.
    pub(super) fn work(&mut self) -> Result<()> {
        if self.installed || self.own.is_some() {
            return Ok(());
        }
        let (aws, proven) = self.eks()?;
        let eks = EksSettings {
            cluster_name: proven.cluster.name.clone(),
            api_server: self.live.api_server.clone(),
            periods: Periods {
                listing: self.listing,
                ..Periods::default()
            },
            queue: None,
        };
        let closed = Arc::new(AtomicBool::new(false));
        let (metrics, _) = Metrics::new(Some(aws.calls()), self.live.api_server.requests());
        let controller = Controller::new(
            self.live.cluster.clone(),
            Some((aws.clone(), eks)),
            self.settings.clone(),
            RESYNC,
            Arc::new(Health::default()),
            metrics,
        );
        let (controller, turns) = controller.implied(self.imply(Arc::clone(&closed)));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(controller.run(shutdown.clone()));
        self.own = Some(Own {
            shutdown,
            task,
            turns,
            closed,
        });
        Ok(())
    }

    fn imply(&self, closed: Arc<AtomicBool>) -> Imply {
        let (installation, way) = (self.installation(), self.way);
        Arc::new(move |observed| {
            implied(observed, &installation, way, closed.load(Ordering::Relaxed))
        })
    }

    /// Ends our own loop; calls that are in flight are seen to their end.
    pub(super) async fn stop(&mut self) {
        if let Some(own) = self.own.take() {
            self.last.clone_from(&own.turns.borrow());
            own.shutdown.cancel();
            // It ends by itself; a panic has been told of already.
            let _ = own.task.await;
        }
    }

    /// Waits until something may have changed.
    pub(super) async fn wait(&mut self) {
        match &mut self.own {
            Some(own) => {
                // Its end shows at the next look.
                let _ = own.turns.changed().await;
            }
            None => tokio::time::sleep(LOOKS).await,
        }
    }

    /// Waits until our own loop, where it runs, has planned with what exists now.
    pub(super) async fn catch_up(&mut self) {
        if let Some(own) = &mut self.own {
            let now = Timestamp::now();
            let newer = |turn: &Option<Arc<Turn>>| {
                turn.as_ref().is_some_and(|turn| turn.observed.now > now)
            };
            // Its end shows at the next look.
            let _ = own.turns.wait_for(newer).await;
        }
    }

    /// From the next plan on nobody new sets foot on the bridge. Waits for that plan.
    pub(super) async fn close_bridge(&mut self) {
        if let Some(own) = &self.own {
            own.closed.store(true, Ordering::Relaxed);
            self.catch_up().await;
        }
    }

    pub(super) fn open_bridge(&mut self) {
        if let Some(own) = &self.own {
            own.closed.store(false, Ordering::Relaxed);
        }
    }
}

const CHANGED: &str = "the operator was installed or uninstalled during the migration, so the handover changed hands; run the \
    same command again";

/// The current state as mappings, with what a plan says of each.
pub(super) fn implied_by(observed: &Observed, settings: &Settings, way: Way) -> Desired {
    let objects = implied(observed, &settings.config_map.to_string(), way, false);
    let mut desired = Desired {
        mappings: objects
            .into_iter()
            .map(|mut object| {
                let name = object.metadata.name.clone().unwrap_or_default();
                object.metadata.uid = Some(name);
                object.metadata.generation = Some(1);
                let mut mapping = Mapping::from_object(&object);
                mapping.finalizers = Finalizers::BOTH;
                mapping
            })
            .collect(),
    };
    let memory = Memory::default();
    let report = plan(&desired, observed, settings, &memory).report(&Outcome::NothingToWrite);
    for write in report.statuses {
        let mapping = desired
            .mappings
            .iter_mut()
            .find(|mapping| mapping.name == write.name);
        if let Some(mapping) = mapping {
            mapping.status = write.status;
        }
    }
    desired
}
