//! Lists the roles and users of an account: the cluster's own, or another one through a role there.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use aws_config::sts::AssumeRoleProvider;
use aws_sdk_iam::Client;

use super::eks::time;
use super::failure::{Request, failure, unexpected};
use super::{Aws, SESSION};
use crate::access_entry::{Failure, FailureKind};
use crate::observed::{IamPrincipal, IamProblem, Listing};
use crate::principal::AccountId;
use crate::time::Timestamp;

/// The most that IAM puts on a page (IAM API reference, `ListRoles`: 1 to 1,000; it may be fewer).
const PAGE: i32 = 1000;

impl Aws {
    /// `ListRoles`: the roles of an account under a path such as `/aws-reserved/sso.amazonaws.com/`; `/` is all. The whole
    /// listing, or why there is none.
    pub async fn roles(
        &self,
        account: &AccountId,
        path_prefix: &str,
    ) -> Result<Listing, IamProblem> {
        let read = Timestamp::now();
        let asked = asked("ListRoles");
        let request = self
            .iam(account)
            .await?
            .list_roles()
            .path_prefix(path_prefix)
            .max_items(PAGE);
        let mut principals = BTreeMap::new();
        let mut marker = None;
        loop {
            let call = async {
                let page = request.clone().set_marker(marker.clone()).send().await;
                page.map_err(|error| failure(&error, &asked))
            };
            let page = self.calls().other(&asked, call).await.map_err(problem)?;
            principals.extend(page.roles.into_iter().map(|role| {
                let principal = IamPrincipal {
                    arn: role.arn,
                    id: role.role_id,
                    created: time(Some(role.create_date)),
                };
                (role.role_name.to_ascii_lowercase(), principal)
            }));
            marker = next(&asked, marker.as_ref(), page.is_truncated, page.marker)?;
            if marker.is_none() {
                return Ok(Listing {
                    read,
                    principals: Arc::new(principals),
                });
            }
        }
    }

    /// `ListUsers`: all users of an account. The whole listing, or why there is none.
    pub async fn users(&self, account: &AccountId) -> Result<Listing, IamProblem> {
        let read = Timestamp::now();
        let asked = asked("ListUsers");
        let request = self.iam(account).await?.list_users().max_items(PAGE);
        let mut principals = BTreeMap::new();
        let mut marker = None;
        loop {
            let call = async {
                let page = request.clone().set_marker(marker.clone()).send().await;
                page.map_err(|error| failure(&error, &asked))
            };
            let page = self.calls().other(&asked, call).await.map_err(problem)?;
            principals.extend(page.users.into_iter().map(|user| {
                let principal = IamPrincipal {
                    arn: user.arn,
                    id: user.user_id,
                    created: time(Some(user.create_date)),
                };
                (user.user_name.to_ascii_lowercase(), principal)
            }));
            marker = next(&asked, marker.as_ref(), page.is_truncated, page.marker)?;
            if marker.is_none() {
                return Ok(Listing {
                    read,
                    principals: Arc::new(principals),
                });
            }
        }
    }

    /// The client for an account: with the role that is given for it, with our own credentials in our own account, or with the
    /// role that is given for every other. Its credentials are kept and refreshed by the SDK.
    async fn iam(&self, account: &AccountId) -> Result<Client, IamProblem> {
        if let Some(client) = self.clients().get(account) {
            return Ok(client.clone());
        }
        let role = match self.0.iam_roles.of(account) {
            Some(role) => Some(role),
            None if self.identity().await.map_err(problem)?.account == *account => None,
            None => Some(
                self.0
                    .iam_roles
                    .elsewhere(account)
                    .ok_or(IamProblem::NoRole)?,
            ),
        };
        let client = match role {
            None => Client::new(&self.0.quick),
            Some(role) => {
                let mut provider = AssumeRoleProvider::builder(role)
                    .configure(&self.0.quick)
                    .session_name(SESSION);
                if let Some(external_id) = &self.0.iam_roles.external_id {
                    provider = provider.external_id(external_id);
                }
                let config = aws_sdk_iam::config::Builder::from(&self.0.quick)
                    .credentials_provider(provider.build().await);
                Client::from_conf(config.build())
            }
        };
        self.clients().insert(account.clone(), client.clone());
        Ok(client)
    }

    fn clients(&self) -> MutexGuard<'_, BTreeMap<AccountId, Client>> {
        // Nothing panics while it is held; were it so, the clients would still be usable.
        self.0.iam.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn asked(operation: &'static str) -> Request {
    Request {
        service: "iam",
        operation,
        // Neither action can be narrowed to resources (service authorization reference of AWS IAM).
        resource: Some("*".to_owned()),
    }
}

fn problem(failure: Failure) -> IamProblem {
    match failure.kind {
        FailureKind::Denied { statement, .. } => IamProblem::Denied {
            message: failure.message,
            statement,
        },
        _ => IamProblem::Unreachable(failure.message),
    }
}

fn next(
    asked: &Request,
    marker: Option<&String>,
    truncated: bool,
    next: Option<String>,
) -> Result<Option<String>, IamProblem> {
    match next.filter(|_| truncated) {
        None if truncated => Err(problem(unexpected(asked, "is cut off without a marker"))),
        Some(next) if marker == Some(&next) => Err(problem(unexpected(
            asked,
            "leads from a page to the same page",
        ))),
        next => Ok(next),
    }
}
