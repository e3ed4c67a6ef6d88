//! Who we are to the API server.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use kube::Api;
use kube::api::PostParams;

use super::{Cluster, bounded};
use crate::error::Error;

impl Cluster {
    /// Who we are to the API server, by its own word.
    pub async fn who_am_i(&self) -> Result<UserInfo, Error> {
        let reviews = Api::<SelfSubjectReview>::all(self.client.clone());
        let review = SelfSubjectReview::default();
        let answer = bounded(reviews.create(&PostParams::default(), &review)).await?;
        let status = answer.status.and_then(|status| status.user_info);
        Ok(status.unwrap_or_default())
    }
}
