//! The flags for AWS: how access entries and IAM are read.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use jiff::SignedDuration;

use super::choices;
use crate::aws::{AssumedRole, Aws, AwsSettings, DEFAULT_RATE, IamRoles, InvalidIamRole, QueueUrl};
use crate::cluster::api_server::ApiServer;
use crate::controller::{EksSettings, Periods};
use crate::observed::{Handover, Mode, RecreatedPrincipals, Settings};
use crate::principal::AccountId;

/// Which cluster of EKS, if any, and how it is asked.
#[derive(Args, Clone, Debug)]
pub(crate) struct EksClusterArgs {
    /// Name of the EKS cluster; its authentication mode and access entries are read from EKS
    #[arg(
        long,
        value_name = "NAME",
        env = "IDENTITY_MAPPER_CLUSTER_NAME",
        value_parser = cluster_name,
        help_heading = "EKS"
    )]
    pub(crate) cluster_name: Option<String>,

    /// Region of the cluster [default: `$AWS_REGION`, or the region of the AWS profile]
    #[arg(
        long,
        value_name = "REGION",
        env = "IDENTITY_MAPPER_REGION",
        help_heading = "EKS"
    )]
    pub(crate) region: Option<String>,

    /// Maximum number of EKS calls per second
    #[arg(
        long,
        value_name = "RATE",
        env = "IDENTITY_MAPPER_EKS_RATE",
        default_value_t = DEFAULT_RATE,
        value_parser = rate,
        help_heading = "EKS"
    )]
    pub(crate) eks_rate: f64,

    /// The role to assume for all calls; one of many clusters has its own.
    #[arg(skip)]
    pub(crate) assumed_role: Option<AssumedRole>,
}

impl EksClusterArgs {
    /// Checks what is not a matter of one flag alone.
    pub(crate) fn check(&self) -> Result<()> {
        match (&self.region, &self.cluster_name) {
            (Some(region), None) => {
                bail!("--region {region} needs the name of the cluster: add --cluster-name")
            }
            _ => Ok(()),
        }
    }

    /// The clients and the cluster's name; `None` where AWS is not asked. Nothing is called yet.
    pub(crate) async fn connect(&self, iam_roles: IamRoles) -> Result<Option<(Aws, String)>> {
        self.check()?;
        let Some(cluster_name) = self.cluster_name.clone() else {
            return Ok(None);
        };
        let aws = Aws::connect(&AwsSettings {
            region: self.region.clone(),
            rate: self.eks_rate,
            assumed_role: self.assumed_role.clone(),
            iam_roles,
        })
        .await?;
        Ok(Some((aws, cluster_name)))
    }
}

/// Whether and how AWS is used.
#[derive(Args, Clone, Debug)]
pub(crate) struct EksArgs {
    /// Authentication mode without AWS API calls; only `CONFIG_MAP`, which has no access entries
    #[arg(
        long,
        value_name = "MODE",
        env = "IDENTITY_MAPPER_AUTHENTICATION_MODE", value_parser = choices::declared_mode(), ignore_case = true,
        help_heading = "EKS"
    )]
    pub(crate) authentication_mode: Option<Mode>,

    #[command(flatten)]
    pub(crate) settings: EntrySettingsArgs,

    /// Interval for listing access entries, roles and users
    #[arg(
        long,
        value_name = "DURATION",
        env = "IDENTITY_MAPPER_LISTING_PERIOD",
        default_value = "5m",
        value_parser = listing_period,
        help_heading = "EKS"
    )]
    pub(crate) listing_period: Duration,

    /// Interval for describing each managed access entry
    #[arg(
        long,
        value_name = "DURATION",
        env = "IDENTITY_MAPPER_REFRESH_PERIOD",
        default_value = "1h",
        value_parser = refresh_period,
        help_heading = "EKS"
    )]
    pub(crate) refresh_period: Duration,

    /// Interval for listing the roles of permission sets
    #[arg(
        long,
        value_name = "DURATION",
        env = "IDENTITY_MAPPER_SSO_SWEEP",
        default_value = "1m",
        value_parser = sso_sweep,
        help_heading = "EKS"
    )]
    pub(crate) sso_sweep: Duration,

    /// SQS queue with change events, so that changes are seen before the next listing
    #[arg(
        long,
        value_name = "URL",
        env = "IDENTITY_MAPPER_QUEUE_URL",
        requires = "cluster_name",
        help_heading = "EKS"
    )]
    pub(crate) queue_url: Option<QueueUrl>,

    #[command(flatten)]
    pub(crate) iam: IamArgs,

    #[command(flatten)]
    pub(crate) cluster: EksClusterArgs,
}

/// What plans that concern access entries depend on.
#[derive(Args, Clone, Debug)]
pub(crate) struct EntrySettingsArgs {
    /// Whether mappings in aws-auth move to access entries automatically; a setting stored in the cluster takes precedence [default:
    /// Manual]
    #[arg(
        long,
        value_name = "SETTING",
        env = "IDENTITY_MAPPER_HANDOVER", value_parser = choices::handover(), ignore_case = true,
        help_heading = "EKS"
    )]
    pub(crate) handover: Option<Handover>,

    /// How long an entry in aws-auth stays beside the access entry that replaces it [default: 24h]
    #[arg(
        long,
        value_name = "DURATION",
        env = "IDENTITY_MAPPER_SOAK",
        value_parser = soak,
        help_heading = "EKS"
    )]
    pub(crate) soak: Option<SignedDuration>,

    /// How long a change in EKS can take to become effective [default: 30s]
    #[arg(
        long,
        value_name = "DURATION",
        env = "IDENTITY_MAPPER_PROPAGATION",
        value_parser = propagation,
        help_heading = "EKS"
    )]
    pub(crate) propagation: Option<SignedDuration>,

    /// What to do when the principal of an access entry was deleted and recreated, so that the entry grants no access [default: Report]
    #[arg(
        long,
        value_name = "SETTING",
        env = "IDENTITY_MAPPER_RECREATED_PRINCIPALS", value_parser = choices::recreated_principals(), ignore_case = true,
        help_heading = "EKS"
    )]
    pub(crate) recreated_principals: Option<RecreatedPrincipals>,
}

impl EntrySettingsArgs {
    /// Whether any is given: who gives one knows of them.
    pub(crate) fn is_given(&self) -> bool {
        self.handover.is_some()
            || self.soak.is_some()
            || self.propagation.is_some()
            || self.recreated_principals.is_some()
    }

    /// These settings with those that are given in their place.
    #[must_use]
    pub(crate) fn settings(&self, settings: Settings) -> Settings {
        Settings {
            handover: self.handover.unwrap_or(settings.handover),
            soak: self.soak.unwrap_or(settings.soak),
            propagation: self.propagation.unwrap_or(settings.propagation),
            recreated: self.recreated_principals.unwrap_or(settings.recreated),
            ..settings
        }
    }
}

/// How the IAM of other accounts is read.
#[derive(Args, Clone, Debug)]
pub(crate) struct IamArgs {
    /// Role to assume for reading IAM of another account; with `{account}` for the number of each `--iam-account`
    #[arg(
        id = "iam_roles",
        long = "iam-role",
        value_name = "ARN",
        env = "IDENTITY_MAPPER_IAM_ROLES",
        value_delimiter = ',',
        help_heading = "EKS"
    )]
    pub(crate) roles: Vec<String>,

    /// Account to insert for `{account}` in `--iam-role`; can be repeated
    #[arg(
        id = "iam_accounts",
        long = "iam-account",
        value_name = "ACCOUNT",
        env = "IDENTITY_MAPPER_IAM_ACCOUNTS",
        value_delimiter = ',',
        help_heading = "EKS"
    )]
    pub(crate) accounts: Vec<AccountId>,

    /// External ID for the trust policies of these roles
    #[arg(
        id = "iam_external_id",
        long = "iam-external-id",
        value_name = "ID",
        env = "IDENTITY_MAPPER_IAM_EXTERNAL_ID",
        requires = "iam_roles",
        help_heading = "EKS"
    )]
    pub(crate) external_id: Option<String>,
}

impl IamArgs {
    pub(crate) fn roles(&self) -> Result<IamRoles, InvalidIamRole> {
        let names = self.roles.iter().map(String::as_str);
        let mut roles = IamRoles::parse(names, self.accounts.iter().cloned())?;
        roles.external_id.clone_from(&self.external_id);
        Ok(roles)
    }
}

impl EksArgs {
    /// Checks what is not a matter of one flag alone. `true`: AWS is asked.
    pub(crate) fn check(&self) -> Result<bool> {
        self.cluster.check()?;
        let roles = self.iam.roles()?;
        if roles != IamRoles::default() && self.cluster.cluster_name.is_none() {
            bail!("--iam-role needs the name of the cluster: add --cluster-name");
        }
        match (&self.cluster.cluster_name, self.authentication_mode) {
            (Some(_), None) => Ok(true),
            (None, Some(Mode::ConfigMap)) => Ok(false),
            (None, Some(mode @ (Mode::ApiAndConfigMap | Mode::Api))) => bail!(
                "--authentication-mode {mode} needs access entries from EKS: set --cluster-name (or \
                    IDENTITY_MAPPER_CLUSTER_NAME) instead; the mode is then read from EKS"
            ),
            (Some(name), Some(mode)) => bail!(
                "--cluster-name {name} and --authentication-mode {mode} exclude each other: give only one of the two; with --cluster-name the mode is read \
                    from EKS"
            ),
            (None, None) => bail!(
                "the cluster's authentication mode is not known: set --cluster-name (or IDENTITY_MAPPER_CLUSTER_NAME) to read \
                    it from EKS. Without AWS API calls, set --authentication-mode CONFIG_MAP (or \
                    IDENTITY_MAPPER_AUTHENTICATION_MODE), if `aws eks describe-cluster --name CLUSTER --query \
                    cluster.accessConfig.authenticationMode` prints CONFIG_MAP"
            ),
        }
    }

    /// The clients and what is to be known of the cluster; `None` where AWS is not asked. Nothing is called yet.
    pub(crate) async fn connect(
        &self,
        api_server: ApiServer,
    ) -> Result<Option<(Aws, EksSettings)>> {
        let Some((aws, cluster_name)) = self.cluster.connect(self.iam.roles()?).await? else {
            return Ok(None);
        };
        let settings = EksSettings {
            cluster_name,
            api_server,
            periods: Periods {
                listing: self.listing_period,
                refresh: self.refresh_period,
                sso_sweep: self.sso_sweep,
            },
            queue: self.queue_url.clone(),
        };
        Ok(Some((aws, settings)))
    }
}

/// As EKS allows it (EKS API reference, `CreateCluster`: 1 to 100 letters, digits, `-` and `_`, the first a letter or digit).
pub(super) fn cluster_name(text: &str) -> Result<String, String> {
    let name = text.len() <= 100
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if name {
        Ok(text.to_owned())
    } else {
        Err("not the name of an EKS cluster: write the name that `aws eks list-clusters` prints, not its ARN".to_owned())
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("must be between 0.1 and 1000: write calls per second, such as 10".to_owned()),
    }
}

/// A duration within bounds, which are named in words.
pub(super) fn duration(
    text: &str,
    least: (Duration, &str),
    most: (Duration, &str),
    example: &str,
) -> Result<Duration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|error| format!("{error}; write a duration such as {example}"))?;
    match Duration::try_from(duration) {
        Ok(duration) if duration >= least.0 && duration <= most.0 => Ok(duration),
        _ => Err(format!(
            "must be between {} and {}; write a duration such as {example}",
            least.1, most.1
        )),
    }
}

const YEAR: (Duration, &str) = (Duration::from_hours(24 * 365), "a year");
const DAY: (Duration, &str) = (Duration::from_hours(24), "a day");

/// At least a minute: twice the time that a change in EKS takes to be in force.
pub(super) fn soak(text: &str) -> Result<SignedDuration, String> {
    let soak = duration(text, (Duration::from_mins(1), "60s"), YEAR, "24h")?;
    SignedDuration::try_from(soak).map_err(|error| error.to_string())
}

pub(super) fn propagation(text: &str) -> Result<SignedDuration, String> {
    let most = (Duration::from_mins(10), "10m");
    let propagation = duration(text, (Duration::from_secs(1), "1s"), most, "30s")?;
    SignedDuration::try_from(propagation).map_err(|error| error.to_string())
}

pub(super) fn listing_period(text: &str) -> Result<Duration, String> {
    duration(text, (Duration::from_secs(10), "10s"), DAY, "5m")
}

fn refresh_period(text: &str) -> Result<Duration, String> {
    duration(text, (Duration::from_secs(10), "10s"), YEAR, "1h")
}

fn sso_sweep(text: &str) -> Result<Duration, String> {
    duration(text, (Duration::from_secs(5), "5s"), DAY, "1m")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        eks: EksArgs,
    }

    fn parse(arguments: &[&str]) -> Result<EksArgs, clap::Error> {
        Line::try_parse_from(std::iter::once("run").chain(arguments.iter().copied()))
            .map(|line| line.eks)
    }

    /// How a start with these arguments goes: whether AWS is asked, or the error.
    fn start(arguments: &[&str]) -> Result<bool, String> {
        let args = parse(arguments).map_err(|error| error.to_string())?;
        args.check().map_err(|error| error.to_string())
    }

    #[test]
    fn the_mode_is_read_or_declared() {
        assert_eq!(start(&["--cluster-name=main"]), Ok(true));
        assert_eq!(start(&["--authentication-mode=CONFIG_MAP"]), Ok(false));
        assert_eq!(start(&["--authentication-mode=config_map"]), Ok(false));
    }

    #[test]
    fn everything_else_is_refused_with_a_fix() {
        for (arguments, fix) in [
            (&[][..], "set --cluster-name"),
            (&[], "--authentication-mode CONFIG_MAP (or"),
            (&["--authentication-mode=API"], "set --cluster-name"),
            (
                &["--authentication-mode=API_AND_CONFIG_MAP"],
                "--authentication-mode API_AND_CONFIG_MAP needs access entries",
            ),
            (
                &["--authentication-mode=configmap"],
                "possible values: CONFIG_MAP",
            ),
            (
                &["--cluster-name=main", "--authentication-mode=CONFIG_MAP"],
                "give only one of the two",
            ),
            (
                &["--cluster-name=arn:aws:eks:eu-west-1:111122223333:cluster/main"],
                "not its ARN",
            ),
            (&["--cluster-name="], "aws eks list-clusters"),
            (
                &["--authentication-mode=CONFIG_MAP", "--region=eu-west-1"],
                "--cluster-name",
            ),
            (
                &["--cluster-name=main", "--queue-url=my-queue"],
                "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME",
            ),
            (
                &["--cluster-name=main", "--iam-role=reader"],
                "arn:aws:iam::444455556666:role/NAME",
            ),
            (
                &["--cluster-name=main", "--iam-external-id=x"],
                "--iam-role",
            ),
            (
                &[
                    "--cluster-name=main",
                    "--iam-role=arn:aws:iam::{account}:role/reader",
                ],
                "--iam-account 444455556666",
            ),
            (
                &["--cluster-name=main", "--iam-account=444455556666"],
                "--iam-role arn:aws:iam::{account}:role/NAME",
            ),
            (&["--iam-account=4444"], "4444"),
            (&["--handover=Sometimes"], "Manual, Auto, Revert"),
            (&["--recreated-principals=Ignore"], "Report, Renew"),
            (&["--soak=59s"], "between 60s and a year"),
            (&["--soak=soon"], "such as 24h"),
            (&["--propagation=0s"], "between 1s and 10m"),
            (&["--listing-period=1s"], "between 10s and a day"),
            (&["--refresh-period=1s"], "between 10s and a year"),
            (&["--sso-sweep=1s"], "between 5s and a day"),
            (&["--eks-rate=0"], "between 0.1 and 1000"),
            (&["--eks-rate=fast"], "calls per second, such as 10"),
        ] {
            let error = start(arguments).expect_err("refused");
            assert!(error.contains(fix), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn flags_have_their_defaults() {
        let args = parse(&["--cluster-name=main"]).expect("enough");
        let settings = args.settings.settings(Settings::default());
        let defaults = Settings::default();
        assert_eq!(settings.handover, defaults.handover);
        assert_eq!(settings.soak, defaults.soak);
        assert_eq!(settings.propagation, defaults.propagation);
        assert_eq!(settings.recreated, defaults.recreated);
        let periods = Periods {
            listing: args.listing_period,
            refresh: args.refresh_period,
            sso_sweep: args.sso_sweep,
        };
        assert_eq!(periods, Periods::default());
    }

    #[test]
    fn roles_of_other_accounts_are_given_one_by_one_or_in_a_list() {
        let one = "--iam-role=arn:aws:iam::444455556666:role/reader";
        let every = "--iam-role=arn:aws:iam::{account}:role/reader";
        let both =
            "--iam-role=arn:aws:iam::444455556666:role/reader,arn:aws:iam::{account}:role/reader";
        let roles = |arguments: &[&str]| {
            let args =
                parse(&[&["--cluster-name=main", "--iam-external-id=x"], arguments].concat());
            args.expect("roles").iam.roles().expect("roles")
        };
        let accounts = ["--iam-account=777788889999", "--iam-account=999900001111"];
        assert_eq!(
            roles(&[one, every, accounts[0], accounts[1]]),
            roles(&[both, "--iam-account=777788889999,999900001111"])
        );
        assert_eq!(roles(&[one]).external_id.as_deref(), Some("x"));
        let error = start(&["--cluster-name=main", one, one]).expect_err("twice");
        assert!(error.contains("specify one"), "{error}");
    }
}
