//! The caller as the authenticator looks it up.

use super::arn::{ArnError, Parts};

/// The ARN under which the authenticator looks a caller up: a session of a role becomes the role, everything else stays.
///
/// This is `Canonicalize` of aws-iam-authenticator (`pkg/arn/arn.go`), as tolerant as that: a role's path in a session
/// ARN (STS sends none) is kept, and accounts and names aren't looked at, because whatever STS says is who calls.
///
/// ```
/// # use identity_mapper::principal::canonical_caller;
/// let session = "arn:aws:sts::111122223333:assumed-role/Admin/alice@example.com";
/// assert_eq!(canonical_caller(session)?, "arn:aws:iam::111122223333:role/Admin");
/// # Ok::<(), identity_mapper::principal::ArnError>(())
/// ```
pub fn canonical_caller(arn: &str) -> Result<String, ArnError> {
    let parts = Parts::split(arn)?;
    let partition = parts.partition()?;
    let (kind, rest) = parts
        .resource
        .split_once('/')
        .unwrap_or((parts.resource, ""));
    match (parts.service, kind) {
        ("sts", "assumed-role") => match rest.rsplit_once('/') {
            Some((role, _session)) => Ok(format!(
                "arn:{partition}:iam::{}:role/{role}",
                parts.account
            )),
            None => Err(ArnError::Session {
                value: rest.to_owned(),
            }),
        },
        ("sts", "federated-user") | ("iam", "role" | "user" | "root") => Ok(arn.to_owned()),
        ("sts" | "iam", _) => Err(parts.unknown_resource()),
        (service, _) => Err(ArnError::Service {
            value: service.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_as_the_authenticator_sees_them() {
        for (caller, canonical) in [
            (
                "arn:aws:sts::111122223333:assumed-role/Admin/me",
                "arn:aws:iam::111122223333:role/Admin",
            ),
            (
                "arn:aws:sts::111122223333:assumed-role/path/Admin/me",
                "arn:aws:iam::111122223333:role/path/Admin",
            ),
            (
                "arn:aws-cn:sts::111122223333:assumed-role/Admin/i-0123456789abcdef0",
                "arn:aws-cn:iam::111122223333:role/Admin",
            ),
            (
                "arn:aws-eusc:sts::111122223333:assumed-role/Admin/",
                "arn:aws-eusc:iam::111122223333:role/Admin",
            ),
            (
                "arn:aws:sts::111122223333:federated-user/bob",
                "arn:aws:sts::111122223333:federated-user/bob",
            ),
            (
                "arn:aws:iam::111122223333:user/div/Bob",
                "arn:aws:iam::111122223333:user/div/Bob",
            ),
            (
                "arn:aws:iam::111122223333:role/team/Admin",
                "arn:aws:iam::111122223333:role/team/Admin",
            ),
            (
                "arn:aws:iam::111122223333:root",
                "arn:aws:iam::111122223333:root",
            ),
        ] {
            assert_eq!(
                canonical_caller(caller).as_deref(),
                Ok(canonical),
                "{caller}"
            );
        }
    }

    #[test]
    fn callers_that_it_refuses() {
        for (caller, error) in [
            ("me", "not an ARN"),
            (
                "arn:aws-xx:iam::111122223333:user/bob",
                "unknown partition \"aws-xx\"",
            ),
            ("arn:aws:s3:::bucket", "service \"s3\""),
            ("arn:aws:iam::111122223333:group/admins", "IAM group"),
            (
                "arn:aws:sts::111122223333:role/Admin",
                "resource \"role/Admin\"",
            ),
            ("arn:aws:sts::111122223333:assumed-role/Admin", "session"),
        ] {
            let message = canonical_caller(caller).unwrap_err().to_string();
            assert!(message.contains(error), "{caller}: {message}");
        }
    }
}
