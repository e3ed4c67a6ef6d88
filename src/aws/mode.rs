//! Changes the authentication mode when a person requests it, one step at a time.

use aws_sdk_eks::types::{AuthenticationMode, Update, UpdateAccessConfigRequest, UpdateStatus};

use super::Aws;
use super::eks::asked;
use super::failure::{Request, unexpected};
use super::pace::Priority;
use crate::access_entry::EksCluster;
use crate::access_entry::Failure;
use crate::observed::Mode;
use crate::safety::Cleared;

/// How far an update of a cluster has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateState {
    /// EKS works on it.
    InProgress,
    /// It is made.
    Successful,
    /// It failed or was cancelled, in EKS's words.
    Failed(String),
}

impl Aws {
    /// `UpdateClusterConfig`: asks for another authentication mode, and gives the update's id. It takes minutes. While another update
    /// runs EKS answers [`FailureKind::InUse`](crate::access_entry::FailureKind::InUse).
    pub async fn change_mode(
        &self,
        cluster: &EksCluster,
        mode: &Cleared<Mode>,
    ) -> Result<String, Failure> {
        let asked = asked("UpdateClusterConfig", Some(cluster.arn.clone()));
        let access = UpdateAccessConfigRequest::builder()
            .authentication_mode(AuthenticationMode::from(mode.as_str()))
            .build();
        let request = self
            .0
            .eks
            .update_cluster_config()
            .name(&cluster.name)
            .access_config(access);
        let answer = self
            .eks(&asked, Priority::Urgent, || request.clone().send())
            .await?;
        let id = answer.update.and_then(|update| update.id);
        id.ok_or_else(|| unexpected(&asked, "names no update"))
    }

    /// `DescribeUpdate`.
    pub async fn describe_update(
        &self,
        cluster: &EksCluster,
        id: &str,
    ) -> Result<UpdateState, Failure> {
        let asked = asked("DescribeUpdate", Some(cluster.arn.clone()));
        let request = self
            .0
            .eks
            .describe_update()
            .name(&cluster.name)
            .update_id(id);
        let answer = self
            .eks(&asked, Priority::Urgent, || request.clone().send())
            .await?;
        let update = answer.update;
        let update = update.ok_or_else(|| unexpected(&asked, "holds no update"))?;
        state(&update, &asked)
    }
}

fn state(update: &Update, asked: &Request) -> Result<UpdateState, Failure> {
    match update.status() {
        Some(UpdateStatus::InProgress) => Ok(UpdateState::InProgress),
        Some(UpdateStatus::Successful) => Ok(UpdateState::Successful),
        Some(UpdateStatus::Failed | UpdateStatus::Cancelled) => {
            Ok(UpdateState::Failed(words(update)))
        }
        other => Err(unexpected(
            asked,
            &format!(
                "has the status {:?}, which this version does not know",
                other.map(UpdateStatus::as_str).unwrap_or_default()
            ),
        )),
    }
}

/// What EKS says of an update that was not made.
fn words(update: &Update) -> String {
    let errors: Vec<String> = update
        .errors()
        .iter()
        .map(|error| {
            let code = error.error_code().map(|code| code.as_str().to_owned());
            let message = error.error_message().map(str::to_owned);
            [code, message]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(": ")
        })
        .collect();
    let status = update.status().map_or("", UpdateStatus::as_str);
    if errors.is_empty() {
        format!("its status is {status}")
    } else {
        format!("{status}: {}", errors.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_eks::types::{ErrorCode, ErrorDetail};

    use super::*;

    #[test]
    fn how_far_an_update_has_got() {
        let asked = asked("DescribeUpdate", None);
        let of = |status: &str| {
            let update = Update::builder().status(UpdateStatus::from(status)).build();
            state(&update, &asked).map_err(|failure| failure.message)
        };
        assert_eq!(of("InProgress"), Ok(UpdateState::InProgress));
        assert_eq!(of("Successful"), Ok(UpdateState::Successful));
        assert_eq!(
            of("Cancelled"),
            Ok(UpdateState::Failed("its status is Cancelled".to_owned()))
        );
        assert_eq!(
            of("Paused"),
            Err("EKS's answer to DescribeUpdate has the status \"Paused\", which this version does not know".to_owned())
        );
        let failed = Update::builder()
            .status(UpdateStatus::Failed)
            .errors(
                ErrorDetail::builder()
                    .error_code(ErrorCode::AccessDenied)
                    .error_message("not so")
                    .build(),
            )
            .build();
        assert_eq!(
            state(&failed, &asked),
            Ok(UpdateState::Failed(
                "Failed: AccessDenied: not so".to_owned()
            ))
        );
    }
}
