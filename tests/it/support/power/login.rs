//! Who is let in as whom, as EKS's authenticator does it: its mapper for access entries (`pkg/mapper/dynamicfile` of
//! aws-iam-authenticator with strict user ids), then that for aws-auth, and its templates (`pkg/server/server.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use identity_mapper::access_entry::Scope;
use identity_mapper::aws_auth::{Entry, Index, Lookup};
use identity_mapper::observed::Mode;
use identity_mapper::principal::{Principal, canonical_caller};

use super::Scene;

/// Whoever calls, as `GetCallerIdentity` tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Caller {
    /// The ARN: a session's, or a user's.
    pub(crate) arn: String,
    /// The user id: `AROA…:session`, or `AIDA…`.
    pub(crate) user_id: String,
    /// The access key that signed.
    pub(crate) access_key: String,
}

/// Who the caller is to Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The username, rendered.
    pub(crate) username: String,
    /// The groups, rendered.
    pub(crate) groups: BTreeSet<String>,
    /// What says so.
    pub(crate) via: Via,
    /// The access policies that come with it.
    pub(crate) policies: BTreeMap<String, Scope>,
}

/// What lets a caller in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// The access entry of this principal.
    AccessEntry(String),
    /// An entry of aws-auth: its list and the number of its line.
    AwsAuth(&'static str, usize),
    /// The account's number in mapAccounts.
    Account,
}

/// Why a caller is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) String);

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessEntry(principal) => write!(f, "access entry of {principal}"),
            Self::AwsAuth(list, line) => write!(f, "aws-auth, {list} line {line}"),
            Self::Account => f.write_str("aws-auth, mapAccounts"),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            username,
            groups,
            via,
            policies,
        } = self;
        write!(f, "{username:?} in {groups:?} by {via}")?;
        for (policy, scope) in policies {
            write!(
                f,
                ", {} ({scope})",
                policy.rsplit('/').next().unwrap_or(policy)
            )?;
        }
        Ok(())
    }
}

impl Caller {
    /// A session of the role with this ARN and id.
    pub(crate) fn session(role_arn: &str, id: &str, session: &str) -> Self {
        let role = Principal::parse(role_arn).expect("the ARN of a role");
        Self {
            arn: format!(
                "arn:{}:sts::{}:assumed-role/{}/{session}",
                role.partition, role.account, role.name
            ),
            user_id: format!("{id}:{session}"),
            access_key: "ASIAEXAMPLE".to_owned(),
        }
    }

    /// The user with this ARN and id.
    pub(crate) fn user(arn: &str, id: &str) -> Self {
        Self {
            arn: arn.to_owned(),
            user_id: id.to_owned(),
            access_key: "AKIDEXAMPLE".to_owned(),
        }
    }

    fn account(&self) -> &str {
        self.arn.split(':').nth(4).unwrap_or_default()
    }

    fn session_name(&self) -> &str {
        let resource = self.arn.split(':').nth(5).unwrap_or_default();
        let mut parts = resource.split('/');
        match parts.next() {
            Some("assumed-role") => parts.next_back().unwrap_or_default(),
            _ => "",
        }
    }

    /// A username or group as the authenticator fills it in for this caller.
    pub(crate) fn render(
        &self,
        template: &str,
        instances: &BTreeMap<String, String>,
    ) -> Result<String, Refused> {
        const DNS: &str = "{{EC2PrivateDNSName}}";
        let session = self.session_name();
        let mut text = template.to_owned();
        if text.contains(DNS) {
            let name = instances.get(session).ok_or_else(|| {
                Refused(format!(
                    "{session:?} is no instance, and {template:?} asks for its name"
                ))
            })?;
            text = text.replace(DNS, name);
        }
        Ok(text
            .replace("{{AccessKeyID}}", &self.access_key)
            .replace("{{AccountID}}", self.account())
            .replace("{{SessionName}}", &session.replace('@', "-"))
            .replace("{{SessionNameRaw}}", session))
    }
}

impl Scene {
    /// Who this caller is to Kubernetes now. Several where aws-auth leaves it to chance.
    pub(crate) fn login(&self, caller: &Caller) -> Result<Vec<Identity>, Refused> {
        self.login_by(&Index::new(&self.aws_auth), caller)
    }

    /// The same, by an index of the scene's aws-auth.
    pub(super) fn login_by(
        &self,
        aws_auth: &Index<'_>,
        caller: &Caller,
    ) -> Result<Vec<Identity>, Refused> {
        let canonical =
            canonical_caller(&caller.arn).map_err(|error| Refused(error.to_string()))?;
        if let Some(identity) = self.by_access_entry(caller, &canonical) {
            return Ok(vec![identity?]);
        }
        if self.door.mode == Mode::Api {
            return Err(Refused("no access entry in force is its own".to_owned()));
        }
        let by_entry = |list: &'static str, entry: &Entry| {
            let groups = entry.groups.iter();
            let groups = groups.map(|group| caller.render(group, &self.instances));
            Ok(Identity {
                username: caller.render(&entry.username, &self.instances)?,
                groups: groups.collect::<Result<_, _>>()?,
                via: Via::AwsAuth(list, entry.line),
                policies: BTreeMap::new(),
            })
        };
        match aws_auth.lookup(&canonical) {
            Lookup::Role(entry) => Ok(vec![by_entry("mapRoles", entry)?]),
            Lookup::User(entry) => Ok(vec![by_entry("mapUsers", entry)?]),
            Lookup::AmbiguousUser(entries) => {
                let entries = entries.into_iter();
                entries.map(|entry| by_entry("mapUsers", entry)).collect()
            }
            Lookup::Account => Ok(vec![Identity {
                username: canonical,
                groups: BTreeSet::new(),
                via: Via::Account,
                policies: BTreeMap::new(),
            }]),
            Lookup::None => Err(Refused(
                "neither an access entry nor aws-auth names it".to_owned(),
            )),
        }
    }

    /// The access entry of the caller's principal id, where its ARN is the caller's too.
    fn by_access_entry(
        &self,
        caller: &Caller,
        canonical: &str,
    ) -> Option<Result<Identity, Refused>> {
        let id = caller.user_id.split(':').next().unwrap_or_default();
        let entry = self.door.entry_of(id, canonical)?;
        let groups = entry.groups.iter();
        let groups = groups.map(|group| caller.render(group, &self.instances));
        let rendered = groups.collect::<Result<_, _>>().and_then(|groups| {
            Ok(Identity {
                username: caller.render(&entry.username, &self.instances)?,
                groups,
                via: Via::AccessEntry(entry.principal_arn.clone()),
                policies: entry.policies.clone(),
            })
        });
        Some(rendered)
    }
}
