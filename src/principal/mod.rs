//! IAM principals and the Kubernetes identities that they get, as parsed types.
//!
//! Invariants: a value of these types is well-formed (twelve-digit account, known partition, IAM's own alphabet in
//! names), two principals are the same exactly when their [`Key`]s are equal, and everything here is pure.
//!
//! IAM identifies a role within its account by its name alone ("names are not distinguished by case" and are unique
//! whatever their path: IAM user guide, *IAM identifiers*), and STS leaves the path out of a session's ARN. So a role
//! has two spellings: with its path, as access entries want it ([`Principal::arn`]), and without, as the aws-auth
//! `ConfigMap` wants it ([`Principal::aws_auth_arn`]). A user has one: STS reports its path.

mod arn;
mod caller;
mod identity;
mod key;
mod names;
mod partition;
mod short;
mod sso;

pub use arn::{
    AccountId, Arn, ArnError, NotAPrincipal, Principal, PrincipalError, PrincipalKind, Resource,
};
pub use caller::canonical_caller;
pub use identity::{Group, IdentityError, Placeholder, RESERVED_PREFIX, Username};
pub use key::Key;
pub use names::PrincipalNames;
pub use partition::{Partition, UnknownPartition};
pub use short::{
    middle, short_permission_set, short_principal, short_username, some_of, without_placeholders,
};
#[cfg(test)]
mod tests;

pub(crate) use sso::is_of_sso;
pub use sso::{SSO_PATH, SsoRole};
