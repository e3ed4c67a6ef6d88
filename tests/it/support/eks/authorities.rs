//! The certificate authorities of a cluster, and their rotation: appended, activated, deleted.
//!
//! <https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCertificateAuthority.html>. Shapes are those of the model; what
//! EKS says where it refuses is not known, so those texts are our own.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use serde_json::{Map, Value, json};

use super::cluster::{Cluster, Update, UpdateKind, epoch};
use super::knobs::{Knobs, signed};
use super::page::page;
use super::refusal::Refusal;
use super::world::{World, uuid_of};

/// At most so many at once.
const MOST: usize = 2;

/// How long one is valid.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24 * 365 * 10);

/// A certificate authority of a cluster.
#[derive(Clone)]
pub(crate) struct CertificateAuthority {
    number: u64,
    /// Its id, which follows from the number.
    pub(crate) id: String,
    /// Its certificate, in PEM.
    pub(crate) pem: String,
    /// What signs with it; `None`: it was made elsewhere.
    pub(crate) issuer: Option<Arc<CertifiedIssuer<'static, KeyPair>>>,
    /// Whether it signs what the cluster presents.
    pub(crate) signing: &'static str,
    /// Whether everything that AWS manages in the cluster trusts it.
    pub(crate) distribution: &'static str,
    created: Timestamp,
    created_by: &'static str,
    activated: Option<(Timestamp, &'static str)>,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.id, self.signing, self.distribution)
    }
}

/// What an update does with a certificate authority, by its id's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// It is trusted.
    Append(u64),
    /// It signs, and no other does.
    Activate(u64),
    /// It is trusted no more.
    Delete(u64),
}

impl Rotation {
    /// The id of the authority.
    pub(crate) fn id(self) -> String {
        let (Self::Append(number) | Self::Activate(number) | Self::Delete(number)) = self;
        id_of(number)
    }
}

fn id_of(number: u64) -> String {
    uuid_of(&format!("certificate authority {number}"))
}

impl CertificateAuthority {
    /// The first of a cluster, which signs from the start.
    pub(super) fn first(pem: &[u8], now: Timestamp) -> Self {
        Self {
            number: 0,
            id: id_of(0),
            pem: String::from_utf8_lossy(pem).into_owned(),
            issuer: None,
            signing: "IN_USE",
            distribution: "COMPLETE",
            created: now,
            created_by: "EKS",
            activated: Some((now, "EKS")),
        }
    }

    fn made(number: u64, now: Timestamp) -> Self {
        let mut params = CertificateParams::default();
        // All of a cluster have one name.
        params
            .distinguished_name
            .push(DnType::CommonName, "kubernetes");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a key signs itself");
        Self {
            number,
            id: id_of(number),
            pem: issuer.pem(),
            issuer: Some(Arc::new(issuer)),
            signing: "NOT_USED",
            distribution: "IN_PROGRESS",
            created: now,
            created_by: "CUSTOMER",
            activated: None,
        }
    }

    fn summary(&self) -> Value {
        json!({
            "id": self.id,
            "createdAt": epoch(self.created),
            "createdBy": self.created_by,
            "activatedAt": self.activated.map(|(at, _)| epoch(at)),
            "activatedBy": self.activated.map(|(_, by)| by),
            "signingStatus": self.signing,
            "distributionStatus": self.distribution,
        })
    }

    fn describe(&self) -> Value {
        let until = self
            .created
            .saturating_add(VALIDITY)
            .unwrap_or(self.created);
        let mut described = self.summary();
        described["validity"] = json!({"notBefore": epoch(self.created), "notAfter": epoch(until)});
        described["rollbackAvailable"] = false.into();
        described["data"] = STANDARD.encode(&self.pem).into();
        described
    }
}

impl Cluster {
    /// As `DescribeCluster` gives them: all that are trusted, the active one first (since 2026-09-11).
    pub(super) fn describe_authorities(&self) -> Value {
        let trusted = self.authorities.iter();
        let mut trusted: Vec<_> = trusted
            .filter(|it| it.distribution != "IN_PROGRESS")
            .collect();
        trusted.sort_by_key(|it| order(it));
        let bundle: String = trusted.iter().map(|it| it.pem.as_str()).collect();
        let mut described = json!({"data": STANDARD.encode(bundle)});
        if let Some(active) = trusted.first() {
            let by = active.activated.map(|(_, by)| by);
            described["active"] = json!({"id": active.id, "activatedBy": by});
        }
        described
    }

    fn set(&mut self, number: u64, change: impl Fn(&mut CertificateAuthority)) {
        let authorities = self.authorities.iter_mut();
        authorities
            .filter(|it| it.number == number)
            .for_each(change);
    }

    fn authority(&self, id: &str) -> Result<&CertificateAuthority, Refusal> {
        let found = self.authorities.iter().find(|it| it.id == id);
        found.ok_or_else(|| {
            Refusal::not_found(format!("No certificate authority found for ID: {id}"))
        })
    }
}

impl World {
    /// An update of the certificate authorities ends.
    pub(super) fn end_rotation(&mut self, rotation: Rotation) {
        let (id, now) = (rotation.id(), self.now);
        for authority in &mut self.cluster.authorities {
            let this = authority.id == id;
            match rotation {
                Rotation::Append(_) if this => authority.distribution = "COMPLETE",
                Rotation::Activate(_) if this => {
                    authority.signing = "IN_USE";
                    authority.activated = Some((now, "CUSTOMER"));
                }
                Rotation::Activate(_) => authority.signing = "NOT_USED",
                Rotation::Append(_) | Rotation::Delete(_) => {}
            }
        }
        if let Rotation::Delete(_) = rotation {
            self.cluster.authorities.retain(|it| it.id != id);
        }
    }

    fn begin_rotation(&mut self, knobs: &Knobs, rotation: Rotation) -> Result<Value, Refusal> {
        let update = Update {
            id: self.uuid(),
            status: "InProgress",
            kind: UpdateKind::Authority(rotation),
            created: self.now,
        };
        let summary = self.cluster.authority(&rotation.id())?.summary();
        let answer = json!({"update": update.describe(), "certificateAuthority": summary});
        let id = update.id.clone();
        self.cluster.updates.push(update);
        self.update_ends(&id, signed(knobs.update));
        Ok(answer)
    }
}

/// Executes an operation on certificate authorities. The cluster is there.
pub(super) fn call(
    world: &mut World,
    knobs: &Knobs,
    operation: &str,
    input: &Map<String, Value>,
) -> Result<Value, Refusal> {
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    let id = text("certificateAuthorityId").unwrap_or_default();
    match operation {
        "ListCertificateAuthorities" => {
            let mut all: Vec<_> = world
                .cluster
                .authorities
                .iter()
                .map(|it| (order(it), it))
                .collect();
            all.sort_by_key(|(order, _)| *order);
            let most = input.get("maxResults").and_then(Value::as_u64);
            let most = usize::try_from(most.unwrap_or(100)).unwrap_or(usize::MAX);
            let key = |((idle, number), _): &((bool, u64), _)| format!("{idle}{number:09}");
            let page = page(operation, all, key, text("nextToken"), most)
                .ok_or_else(|| Refusal::parameter("The nextToken parameter is not valid"))?;
            let found: Vec<Value> = page.items.iter().map(|(_, it)| it.summary()).collect();
            Ok(json!({"certificateAuthorities": found, "nextToken": page.next}))
        }
        "DescribeCertificateAuthority" => {
            let found = world.cluster.authority(id)?.describe();
            Ok(json!({"certificateAuthority": found}))
        }
        "CreateCertificateAuthority" => {
            no_update(&world.cluster, Refusal::in_use)?;
            if world.cluster.authorities.len() >= MOST {
                return Err(Refusal::new(
                    "ResourceLimitExceededException",
                    400,
                    format!("A cluster can have at most {MOST} certificate authorities"),
                ));
            }
            let number = world.next_number();
            let made = CertificateAuthority::made(number, world.now);
            world.cluster.authorities.push(made);
            world.begin_rotation(knobs, Rotation::Append(number))
        }
        "ActivateCertificateAuthority" => {
            // The operation knows no error for what is in use.
            no_update(&world.cluster, Refusal::parameter)?;
            let found = world.cluster.authority(id)?;
            if found.distribution != "COMPLETE" || found.signing != "NOT_USED" {
                return Err(Refusal::parameter(format!(
                    "Certificate authority {id} can't be activated: its signing status is {}, its distribution status {}",
                    found.signing, found.distribution
                )));
            }
            let number = found.number;
            world.cluster.set(number, |it| it.signing = "ACTIVATING");
            world.begin_rotation(knobs, Rotation::Activate(number))
        }
        "DeleteCertificateAuthority" => {
            no_update(&world.cluster, Refusal::in_use)?;
            let found = world.cluster.authority(id)?;
            if found.signing != "NOT_USED" {
                return Err(Refusal::in_use(format!(
                    "Certificate authority {id} signs the cluster's certificates and can't be deleted"
                )));
            }
            let number = found.number;
            world.cluster.set(number, |it| it.distribution = "DELETING");
            world.begin_rotation(knobs, Rotation::Delete(number))
        }
        _ => unreachable!("the model has no {operation}"),
    }
}

/// The active one is listed first.
fn order(authority: &CertificateAuthority) -> (bool, u64) {
    (authority.signing != "IN_USE", authority.number)
}

fn no_update(cluster: &Cluster, refused: impl Fn(String) -> Refusal) -> Result<(), Refusal> {
    cluster.running_update().map_or(Ok(()), |running| {
        Err(refused(format!(
            "Cannot CertificateAuthorityUpdate because cluster {} currently has update {} in progress",
            cluster.name, running.id
        )))
    })
}
