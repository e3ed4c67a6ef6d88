//! ARNs of IAM and STS, parsed part by part, and the principals among them.

use std::fmt;
use std::str::FromStr;

use super::{Key, Partition, SSO_PATH, SsoRole, UnknownPartition};

/// The longest name of a role, user or session (IAM and STS API references: 64 characters).
const NAME_LENGTH: usize = 64;
/// The longest path of a role or user, slashes included (IAM API reference, `CreateRole`: 512 characters).
const PATH_LENGTH: usize = 512;
/// The path of service-linked roles (IAM user guide, *Service-linked roles*).
const SERVICE_LINKED_PATH: &str = "/aws-service-role/";
/// What the names of service-linked roles begin with (IAM user guide, *Service-linked roles*).
const SERVICE_LINKED_NAME: &str = "AWSServiceRoleFor";

/// Whether IAM allows the byte in a name: letters, digits and `_+=,.@-` (IAM user guide, *IAM and STS quotas*).
pub(super) const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-')
}

/// The number of an AWS account: exactly twelve digits, leading zeros included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(String);

impl AccountId {
    /// The twelve digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccountId {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ArnError::Account {
                value: text.to_owned(),
            })
        }
    }
}

/// An ARN of an identity: of IAM (role, user, root) or of STS (session, federated user).
///
/// [`Display`](fmt::Display) gives back the text that was parsed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arn {
    /// The partition.
    pub partition: Partition,
    /// The account.
    pub account: AccountId,
    /// What the ARN names in that account.
    pub resource: Resource,
}

/// What an [`Arn`] names. Paths are as IAM has them: `/`, or with a slash at both ends, as in `/team/a/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// An IAM role: `iam::…:role/path/name`.
    Role {
        /// The path.
        path: String,
        /// The name.
        name: String,
    },
    /// An IAM user: `iam::…:user/path/name`.
    User {
        /// The path.
        path: String,
        /// The name.
        name: String,
    },
    /// A session of a role: `sts::…:assumed-role/role/session`. STS names the role without its path.
    AssumedRole {
        /// The role's name.
        role: String,
        /// The session's name.
        session: String,
    },
    /// A user of `sts:GetFederationToken`: `sts::…:federated-user/name`.
    FederatedUser {
        /// The name.
        name: String,
    },
    /// The account's root user: `iam::…:root`.
    Root,
}

/// Why a text is not the ARN of an identity: which part is wrong, what is there, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// There aren't six parts, or the first isn't `arn`.
    #[error(
        "{value:?} is not an ARN: expected arn:PARTITION:iam::ACCOUNT:role/NAME or arn:PARTITION:iam::ACCOUNT:user/NAME"
    )]
    NotAnArn {
        /// The whole text.
        value: String,
    },
    /// The partition isn't one that the authenticator knows.
    #[error(transparent)]
    Partition(#[from] UnknownPartition),
    /// The service is neither IAM nor STS.
    #[error("service {value:?} has no principals: expected iam")]
    Service {
        /// The service part.
        value: String,
    },
    /// IAM is global: its ARNs have no region.
    #[error(
        "region {value:?} must be empty: ARNs of IAM have two colons between iam and the account"
    )]
    Region {
        /// The region part.
        value: String,
    },
    /// The account isn't twelve digits.
    #[error(
        "account {value:?} is not an AWS account: expected exactly 12 digits, leading zeros included"
    )]
    Account {
        /// The account part.
        value: String,
    },
    /// An IAM group: it can't sign in.
    #[error(
        "{name:?} is an IAM group, which cannot sign in: map a role that its members assume, or each user"
    )]
    Group {
        /// The group's name, with its path.
        name: String,
    },
    /// The service has no such kind of identity.
    #[error(
        "resource {value:?} is not a principal of {service}: expected role/NAME or user/NAME of iam"
    )]
    ResourceType {
        /// The service part.
        service: String,
        /// The whole resource part.
        value: String,
    },
    /// The path isn't one that IAM allows.
    #[error(
        "path {value:?} is not an IAM path: expected at most 512 visible ASCII characters between slashes"
    )]
    Path {
        /// The path, slashes at both ends included.
        value: String,
    },
    /// The name isn't one that IAM allows.
    #[error(
        "name {value:?} is not an IAM name: expected 1 to 64 letters, digits or any of _+=,.@-"
    )]
    Name {
        /// The name, without path.
        value: String,
    },
    /// A session ARN without a valid session name.
    #[error("{value:?} does not name a role and its session: expected assumed-role/ROLE/SESSION")]
    Session {
        /// What follows `assumed-role/`.
        value: String,
    },
}

/// The six parts of an ARN, unchecked but for their number and the first.
pub(super) struct Parts<'a> {
    partition: &'a str,
    pub(super) service: &'a str,
    region: &'a str,
    pub(super) account: &'a str,
    pub(super) resource: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn split(arn: &'a str) -> Result<Self, ArnError> {
        let not_an_arn = || ArnError::NotAnArn {
            value: arn.to_owned(),
        };
        // The resource is the rest, colons included: IAM allows them in paths.
        let mut parts = arn.splitn(6, ':');
        let mut part = || parts.next().ok_or_else(not_an_arn);
        if part()? != "arn" {
            return Err(not_an_arn());
        }
        Ok(Self {
            partition: part()?,
            service: part()?,
            region: part()?,
            account: part()?,
            resource: part()?,
        })
    }

    pub(super) fn partition(&self) -> Result<Partition, UnknownPartition> {
        self.partition.parse()
    }

    pub(super) fn unknown_resource(&self) -> ArnError {
        match (self.service, self.resource.strip_prefix("group/")) {
            ("iam", Some(name)) => ArnError::Group {
                name: name.to_owned(),
            },
            _ => ArnError::ResourceType {
                service: self.service.to_owned(),
                value: self.resource.to_owned(),
            },
        }
    }
}

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let parts = Parts::split(text)?;
        let partition = parts.partition()?;
        if !matches!(parts.service, "iam" | "sts") {
            return Err(ArnError::Service {
                value: parts.service.to_owned(),
            });
        }
        if !parts.region.is_empty() {
            return Err(ArnError::Region {
                value: parts.region.to_owned(),
            });
        }
        let account = parts.account.parse()?;
        let (kind, rest) = parts
            .resource
            .split_once('/')
            .unwrap_or((parts.resource, ""));
        let resource = match (parts.service, kind) {
            ("iam", "role") => {
                let (path, name) = path_and_name(rest)?;
                Resource::Role { path, name }
            }
            ("iam", "user") => {
                let (path, name) = path_and_name(rest)?;
                Resource::User { path, name }
            }
            ("iam", "root") if parts.resource == "root" => Resource::Root,
            ("sts", "assumed-role") => {
                let Some((role, session)) = rest.split_once('/') else {
                    return Err(ArnError::Session {
                        value: rest.to_owned(),
                    });
                };
                Resource::AssumedRole {
                    role: name(role)?,
                    session: name(session)?,
                }
            }
            ("sts", "federated-user") => Resource::FederatedUser { name: name(rest)? },
            _ => return Err(parts.unknown_resource()),
        };
        Ok(Self {
            partition,
            account,
            resource,
        })
    }
}

/// What follows `role/` or `user/`: the path gets back the slash that ended the kind.
fn path_and_name(rest: &str) -> Result<(String, String), ArnError> {
    let Some((directories, last)) = rest.rsplit_once('/') else {
        return Ok(("/".to_owned(), name(rest)?));
    };
    let path = format!("/{directories}/");
    if directories.is_empty()
        || path.len() > PATH_LENGTH
        || !directories.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(ArnError::Path { value: path });
    }
    Ok((path, name(last)?))
}

fn name(text: &str) -> Result<String, ArnError> {
    if (1..=NAME_LENGTH).contains(&text.len()) && text.bytes().all(is_name_byte) {
        Ok(text.to_owned())
    } else {
        Err(ArnError::Name {
            value: text.to_owned(),
        })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            account,
            resource,
        } = self;
        match resource {
            Resource::Role { path, name } => {
                write!(f, "arn:{partition}:iam::{account}:role{path}{name}")
            }
            Resource::User { path, name } => {
                write!(f, "arn:{partition}:iam::{account}:user{path}{name}")
            }
            Resource::AssumedRole { role, session } => {
                write!(
                    f,
                    "arn:{partition}:sts::{account}:assumed-role/{role}/{session}"
                )
            }
            Resource::FederatedUser { name } => {
                write!(f, "arn:{partition}:sts::{account}:federated-user/{name}")
            }
            Resource::Root => write!(f, "arn:{partition}:iam::{account}:root"),
        }
    }
}

/// Role or user: the two kinds of IAM identity that a mapping can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// An IAM role.
    Role,
    /// An IAM user.
    User,
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Role => "role",
            Self::User => "user",
        })
    }
}

/// An IAM role or user: what a mapping maps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    /// The partition.
    pub partition: Partition,
    /// The account.
    pub account: AccountId,
    /// Role or user.
    pub kind: PrincipalKind,
    /// The path as IAM has it: `/`, or with a slash at both ends.
    pub path: String,
    /// The name, without path.
    pub name: String,
}

/// Why an identity can't be mapped, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPrincipal {
    /// A session lasts for hours; its role is what is mapped.
    #[error("{arn:?} is a session of a role: write the role, {role_arn:?}")]
    Session {
        /// The session's ARN.
        arn: String,
        /// The role's ARN, without path: STS does not say it.
        role_arn: String,
    },
    /// EKS accepts an access entry for the root user and then ignores it; nobody should work as root.
    #[error("{arn:?} is the root user of the account: map a role or a user")]
    Root {
        /// The ARN.
        arn: String,
    },
    /// Federated users are sessions of STS, which access entries don't take.
    #[error(
        "{arn:?} is a federated user, a session of STS: map the role or the IAM user that it comes from"
    )]
    FederatedUser {
        /// The ARN.
        arn: String,
    },
}

/// Why a text is not the ARN of a role or user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalError {
    /// It is no ARN of an identity.
    #[error(transparent)]
    Arn(#[from] ArnError),
    /// It is one, but not of a role or user.
    #[error(transparent)]
    NotAPrincipal(#[from] NotAPrincipal),
}

impl TryFrom<Arn> for Principal {
    type Error = NotAPrincipal;

    fn try_from(arn: Arn) -> Result<Self, NotAPrincipal> {
        let text = arn.to_string();
        let Arn {
            partition,
            account,
            resource,
        } = arn;
        match resource {
            Resource::Role { path, name } => Ok(Self {
                partition,
                account,
                kind: PrincipalKind::Role,
                path,
                name,
            }),
            Resource::User { path, name } => Ok(Self {
                partition,
                account,
                kind: PrincipalKind::User,
                path,
                name,
            }),
            Resource::AssumedRole { role, .. } => Err(NotAPrincipal::Session {
                arn: text,
                role_arn: format!("arn:{partition}:iam::{account}:role/{role}"),
            }),
            Resource::FederatedUser { .. } => Err(NotAPrincipal::FederatedUser { arn: text }),
            Resource::Root => Err(NotAPrincipal::Root { arn: text }),
        }
    }
}

impl Principal {
    /// Parses the ARN of a role or user.
    pub fn parse(arn: &str) -> Result<Self, PrincipalError> {
        Ok(Self::try_from(arn.parse::<Arn>()?)?)
    }

    /// The full ARN, with path: what an access entry wants.
    #[must_use]
    pub fn arn(&self) -> String {
        let Self {
            partition,
            account,
            kind,
            path,
            name,
        } = self;
        format!("arn:{partition}:iam::{account}:{kind}{path}{name}")
    }

    /// The ARN as the authenticator matches it in aws-auth: a role's without its path, a user's with it.
    ///
    /// The authenticator makes a session's ARN into its role's, and STS names roles without path but users with it
    /// (`pkg/arn/arn.go` of aws-iam-authenticator; EKS user guide on aws-auth, *role ARNs can't include a path*).
    #[must_use]
    pub fn aws_auth_arn(&self) -> String {
        match self.kind {
            PrincipalKind::Role => format!(
                "arn:{}:iam::{}:role/{}",
                self.partition, self.account, self.name
            ),
            PrincipalKind::User => self.arn(),
        }
    }

    /// What makes another mapping or entry the same principal.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.partition, self.account.clone(), self.kind, &self.name)
    }

    /// The username that EKS itself gives an access entry that names none (EKS user guide, *Create access entries*).
    #[must_use]
    pub fn default_username(&self) -> String {
        match self.kind {
            PrincipalKind::Role => {
                format!(
                    "arn:{}:sts::{}:assumed-role/{}/{{{{SessionName}}}}",
                    self.partition, self.account, self.name
                )
            }
            PrincipalKind::User => self.arn(),
        }
    }

    /// Whether it is a service-linked role, which access entries refuse; also where its path has been taken off.
    #[must_use]
    pub fn is_service_linked(&self) -> bool {
        self.kind == PrincipalKind::Role
            && (self.path.starts_with(SERVICE_LINKED_PATH)
                || (self.path == "/" && self.name.starts_with(SERVICE_LINKED_NAME)))
    }

    /// The permission set, where it is a role of IAM Identity Center; also where its path has been taken off.
    #[must_use]
    pub fn sso(&self) -> Option<SsoRole> {
        let reserved = self.kind == PrincipalKind::Role
            && (self.path == "/" || self.path.starts_with(SSO_PATH));
        if reserved {
            SsoRole::parse_name(&self.name)
        } else {
            None
        }
    }
}
