//! Writes that only `migrate` makes: the bridge, the handover setting, a requested copy of aws-auth, imported mappings.
//!
//! The operator has none of these rights but that to the history.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, ResourceExt};

use super::history::HistoryError;
use super::release::{ATTEMPTS, beaten};
use super::{Cluster, bounded};
use crate::access_entry::BRIDGE_GROUP;
use crate::api::IdentityMapping;
use crate::error::{Category, Error};
use crate::migrate::{BRIDGE, Bridge};
use crate::observed::Handover;
use crate::plan::{FIELD_MANAGER, HANDOVER_ANNOTATION, HistoryWrite, PING_ANNOTATION, backup};
use crate::safety::{BridgeBinding, Cleared};
use crate::time::Timestamp;

/// What a caller's sign-in says of them (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#self-subject-review>).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfReview {
    /// The username.
    pub username: String,
    /// The ARN that the authenticator looked up, which EKS gives as `canonicalArn`; `None`: they did not come in by EKS.
    pub canonical_arn: Option<String>,
}

impl Cluster {
    /// The current bridge.
    pub(crate) async fn bridge(&self) -> Result<Bridge, Error> {
        let found = bounded(self.cluster_role_bindings().get_opt(BRIDGE)).await?;
        Ok(found.map_or(Bridge::Absent, |binding| of_binding(&binding)))
    }

    /// Creates the bridge. An existing one is left unchanged.
    pub(crate) async fn make_bridge(&self, _: &Cleared<BridgeBinding>) -> Result<Bridge, Error> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match bounded(self.cluster_role_bindings().create(&params, &binding())).await {
            Ok(_) => Ok(Bridge::Stands),
            Err(error) if error.category == Category::Conflict => self.bridge().await,
            Err(error) => Err(error),
        }
    }

    /// Takes the bridge away. A binding of its name that is something else is left.
    pub async fn remove_bridge(&self) -> Result<(), Error> {
        let Some(found) = bounded(self.cluster_role_bindings().get_opt(BRIDGE)).await? else {
            return Ok(());
        };
        if of_binding(&found) != Bridge::Stands {
            return Ok(());
        }
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: found.uid(),
                resource_version: found.resource_version(),
            }),
            ..DeleteParams::default()
        };
        match bounded(self.cluster_role_bindings().delete(BRIDGE, &params)).await {
            Ok(_) => Ok(()),
            Err(error) if error.category == Category::Missing => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sets the handover setting on the history, which is made where it is missing. Whether it was another one before.
    pub async fn set_handover(&self, handover: Handover) -> Result<bool, Error> {
        let is_set = |value: &str| value.parse() == Ok(handover);
        self.annotate_history(HANDOVER_ANNOTATION, handover.to_string(), is_set)
            .await
    }

    /// Asks whether an operator works, unless that is asked already.
    pub async fn ping(&self, now: Timestamp) -> Result<(), Error> {
        let asked = self.annotate_history(PING_ANNOTATION, now.to_string(), |_| true);
        asked.await.map(drop)
    }

    /// Sets an annotation on the history, unless what is there will do. Whether it was set.
    async fn annotate_history(
        &self,
        name: &str,
        value: String,
        will_do: impl Fn(&str) -> bool,
    ) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS {
            let view = self.read_history().await?;
            let before = view.as_ref().and_then(|view| view.annotations.get(name));
            if before.is_some_and(|before| will_do(before)) {
                return Ok(false);
            }
            let write = HistoryWrite {
                resource_version: view.map(|view| view.resource_version),
                annotations: [(name.to_owned(), Some(value.clone()))].into(),
                ..HistoryWrite::default()
            };
            match self.write_history(&write).await {
                Ok(_) => return Ok(true),
                Err(HistoryError::Stale) => {}
                Err(HistoryError::Failed(error)) => return Err(error),
            }
        }
        Err(beaten())
    }

    /// Keeps a copy of aws-auth in the history, unless an equal one is kept: its name. `None`: there is no aws-auth.
    pub async fn back_up(&self, now: Timestamp) -> Result<Option<String>, Error> {
        for _ in 0..ATTEMPTS {
            let (standing, history) =
                futures::try_join!(self.read_config_map(), self.read_history())?;
            let Some(standing) = standing else {
                return Ok(None);
            };
            let backup = backup(&standing, history.as_ref(), now).map_err(|message| Error {
                category: Category::Invalid,
                message,
            })?;
            let Some(write) = backup.write else {
                return Ok(Some(backup.copy));
            };
            match self.write_history(&write).await {
                Ok(_) => return Ok(Some(backup.copy)),
                Err(HistoryError::Stale) => {}
                Err(HistoryError::Failed(error)) => return Err(error),
            }
        }
        Err(beaten())
    }

    /// Who the caller is to the API server.
    pub async fn review_self(&self) -> Result<SelfReview, Error> {
        let reviews = Api::<SelfSubjectReview>::all(self.client.clone());
        let review = SelfSubjectReview::default();
        let answer = bounded(reviews.create(&PostParams::default(), &review)).await?;
        let user = answer
            .status
            .and_then(|status| status.user_info)
            .unwrap_or_default();
        let extra = user.extra.unwrap_or_default();
        // Kubernetes lower-cases the keys where somebody is impersonated.
        let arn = extra
            .into_iter()
            .find(|(key, _)| key.eq_ignore_ascii_case("canonicalArn"))
            .and_then(|(_, values)| values.into_iter().next());
        Ok(SelfReview {
            username: user.username.unwrap_or_default(),
            canonical_arn: arn,
        })
    }

    /// Creates a mapping. `false`: one of its name is there already.
    pub async fn create_mapping(&self, mapping: &IdentityMapping) -> Result<bool, Error> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match bounded(self.mappings().create(&params, mapping)).await {
            Ok(_) => Ok(true),
            Err(error) if error.category == Category::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn cluster_role_bindings(&self) -> Api<ClusterRoleBinding> {
        Api::all(self.client.clone())
    }
}

fn binding() -> ClusterRoleBinding {
    let group = "rbac.authorization.k8s.io";
    ClusterRoleBinding {
        metadata: ObjectMeta {
            name: Some(BRIDGE.to_owned()),
            labels: Some(
                [(
                    "app.kubernetes.io/managed-by".to_owned(),
                    FIELD_MANAGER.to_owned(),
                )]
                .into(),
            ),
            ..ObjectMeta::default()
        },
        role_ref: RoleRef {
            api_group: group.to_owned(),
            kind: "ClusterRole".to_owned(),
            name: "cluster-admin".to_owned(),
        },
        subjects: Some(vec![Subject {
            api_group: Some(group.to_owned()),
            kind: "Group".to_owned(),
            name: BRIDGE_GROUP.to_owned(),
            namespace: None,
        }]),
    }
}

fn of_binding(standing: &ClusterRoleBinding) -> Bridge {
    let wanted = binding();
    let same = standing.role_ref == wanted.role_ref && standing.subjects == wanted.subjects;
    if same { Bridge::Stands } else { Bridge::Other }
}
