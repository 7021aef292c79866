//! A destination that wants measurements in a shape of its own: what its pack asks for beside a measurement is read, and
//! the request is made.
//!
//! Who the person is there stands among her identifiers, where whoever linked her to the destination put it; nothing else
//! of her record leaves than what the pack's templates name.

use std::sync::{Arc, PoisonError, RwLock};

use super::Gateway;
use super::holdings::Certainty;
use super::pairwise::Pairwise;
use super::trail::Author;
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Document, Element, json};
use crate::fhir::validate::Validator;
use crate::national::{Context, Corrections, Format, Measured, Message, NotDeliverable, Pack, Removal, Settings};
use crate::peers::Shaped;
use crate::policy::consent::Manner;
use crate::store::{self, Stored};

/// Which extension of a measurement names the app that sent it.
const GATEWAY_DEVICE: &str = "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice";

/// A pack, and what the operator says of its access there.
#[derive(Debug)]
pub struct Shape {
    pub pack: Arc<Pack>,
    pub settings: Settings,
}

/// The shape of a destination while the gateway serves: a new version takes the place of the one before.
#[derive(Debug)]
pub struct Live(RwLock<Arc<Shape>>);

impl Live {
    pub fn new(shape: Shape) -> Live {
        Live(RwLock::new(Arc::new(shape)))
    }

    /// The shape as it is now. Whoever asks keeps what it began with.
    pub fn now(&self) -> Arc<Shape> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What holds from now on.
    pub fn replace(&self, shape: Shape) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shape);
    }
}

/// A measurement with what measured it, as they are stored.
struct Read {
    observation: Document,
    device: Option<Document>,
    app: Option<Document>,
}

/// What a request is made of: measurements, and whose they are.
pub(super) struct Material {
    read: Vec<Read>,
    person: Option<Document>,
    names: Pairwise,
}

impl Material {
    /// Each measurement with what was looked up for it, in their order.
    pub(super) fn measured<'m>(&'m self, contexts: &'m [Vec<Context>]) -> Vec<Measured<'m>> {
        let of = |at: usize| contexts.get(at).map(Vec::as_slice).unwrap_or_default();
        let measured = self.read.iter().enumerate().map(|(at, one)| Measured {
            observation: Element::root(&one.observation),
            device: one.device.as_ref().map(Element::root),
            app: one.app.as_ref().map(Element::root),
            contexts: of(at),
        });
        measured.collect()
    }
}

impl Shape {
    /// How the destination lets go of what it holds, if it does.
    pub fn removal(&self) -> Option<Manner> {
        match self.pack.request.removal {
            Removal::Delete => Some(Manner::Delete),
            Removal::EnteredInError => Some(Manner::EnteredInError),
            Removal::Never => None,
        }
    }

    /// How many measurements one becomes there.
    pub(super) fn becomes(&self, stored: &Stored) -> usize {
        let read = || json::parse(stored.payload.as_slice()).ok();
        let split = if self.pack.splits() { read() } else { None };
        split.map_or(1, |observation| self.pack.becomes(Element::root(&observation)))
    }

    /// What is to be known of some measurements of one person.
    pub(super) async fn material(
        &self,
        gateway: &Gateway,
        destination: &str,
        stored: &[&Stored],
    ) -> Result<Material, store::Error> {
        let mut read = Vec::with_capacity(stored.len());
        for one in stored {
            let Ok(observation) = json::parse(one.payload.as_slice()) else { continue };
            let root = Element::root(&observation);
            let device = root.get("device").and_then(|device| device.text_of("reference"));
            let is_app = |one: &Element<'_>| one.text_of("url") == Some(GATEWAY_DEVICE);
            let app = root.all("extension").find(is_app).and_then(|one| one.get("valueReference"));
            let app = app.and_then(|app| app.text_of("reference"));
            let (device, app) = (device_of(gateway, device).await?, device_of(gateway, app).await?);
            read.push(Read { observation, device, app });
        }
        let person = match stored.first() {
            Some(first) => gateway.person_there(destination, first.patient, &Author::patient_of(first)).await?,
            None => None,
        };
        Ok(Material { read, person, names: Pairwise::of(&gateway.pseudonym_secret, destination) })
    }

    /// The request that tells them, with what was looked up for each, by the names under which the destination knows them;
    /// or why there is none.
    pub(super) fn content(
        &self,
        validator: &Validator,
        stored: &[&Stored],
        material: &Material,
        contexts: &[Vec<Context>],
        there: &[Vec<String>],
    ) -> Result<Shaped, NotDeliverable> {
        let measured = material.measured(contexts);
        let message = self.message(&measured, material);
        let there: Vec<&[String]> = there.iter().map(Vec::as_slice).collect();
        let told = self.pack.request(&message, &there)?;
        let body = match self.pack.request.format {
            Format::Json => told.body.into_bytes(),
            Format::Xml => as_xml(validator, &told.body).ok_or_else(|| NotDeliverable {
                id: Id::DestinationForm,
                text: format!("{} takes XML, which this cannot be written as.", self.pack.title),
            })?,
        };
        Ok(Shaped {
            pack: self.pack.clone(),
            address: told.address,
            key: key(stored, &material.names),
            body,
            count: measured.len(),
            entries: told.entries,
            person: self.pack.person(&message),
        })
    }

    /// Whether a measurement can be told at all, whatever is found when it is looked up there.
    pub(super) fn tellable(
        &self,
        validator: &Validator,
        stored: &Stored,
        material: &Material,
    ) -> Result<(), NotDeliverable> {
        self.content(validator, &[stored], material, &[self.pack.unasked()], &[]).map(drop)
    }

    pub(super) fn message<'m>(&'m self, measured: &'m [Measured<'m>], material: &'m Material) -> Message<'m> {
        Message {
            measured,
            person: material.person.as_ref().map(Element::root),
            settings: &self.settings,
            key: material.names.key(),
        }
    }

    /// Whether there is a newer version, where the destination takes no corrections: what is known to be wrong or gone is not
    /// told there for good, where nothing could mend it.
    pub(super) async fn is_outdated(&self, gateway: &Gateway, stored: &Stored) -> Result<bool, store::Error> {
        if self.pack.request.corrections != Corrections::Never {
            return Ok(false);
        }
        let newest = gateway.store.read(&stored.kind, &stored.logical_id()).await?;
        Ok(newest.is_some_and(|newest| newest.version > stored.version))
    }

    /// Whether a version cannot be told because another one was, and the destination takes no corrections.
    pub(super) async fn is_lost(
        &self,
        gateway: &Gateway,
        destination: &str,
        stored: &Stored,
    ) -> Result<bool, store::Error> {
        let (Some(patient), Corrections::Never) = (stored.patient, self.pack.request.corrections) else {
            return Ok(false);
        };
        if self.is_outdated(gateway, stored).await? {
            return Ok(true);
        }
        if stored.version < 2 || stored.deleted && self.removal().is_some() {
            return Ok(false);
        }
        if stored.deleted || is_an_error(stored) {
            return Ok(true);
        }
        let held = gateway.held_by(destination, patient).await?;
        // What may be there is created again on its own condition, which doubles nothing.
        let there = if self.pack.request.repeatable { Certainty::Sure } else { Certainty::Open };
        let name = (stored.kind.to_string(), stored.logical_id());
        Ok(held.get(&name).is_some_and(|holding| holding.version < stored.version && holding.certainty >= there))
    }

    /// Whether a version says that there is nothing any more, so that it is taken back.
    pub(super) fn takes_back(&self, stored: &Stored) -> bool {
        stored.deleted && self.removal().is_some()
    }
}

fn as_xml(validator: &Validator, body: &str) -> Option<Vec<u8>> {
    validator.to_xml(&json::parse(body).ok()?).ok()
}

/// Who is to be told something, as far as that decides whether it can be.
#[derive(Clone, Copy)]
pub(super) struct Hearer<'h> {
    pub name: &'h str,
    pub shape: Option<&'h Shape>,
    /// By what names it knows persons, if it may not know who they are.
    pub pairwise: Option<&'h Pairwise>,
}

impl Gateway {
    /// Why a destination cannot be told a resource of a person, if it cannot.
    pub(super) async fn untellable(&self, to: Hearer<'_>, stored: &Stored) -> Result<Option<Id>, store::Error> {
        if let Some(patient) = stored.patient
            && self.is_unlinked(to.name, patient).await?
        {
            return Ok(Some(Id::DestinationLink));
        }
        if let Some(shape) = to.shape {
            if shape.is_lost(self, to.name, stored).await? {
                return Ok(Some(Id::DestinationCorrection));
            }
            let material = shape.material(self, to.name, &[stored]).await?;
            return Ok(shape.tellable(&self.validator, stored, &material).err().map(|told| told.id));
        }
        let Some(pairwise) = to.pairwise else { return Ok(None) };
        let told = pairwise.resource(self, stored).is_some();
        Ok((!told).then_some(Id::IdentityInseparable))
    }
}

/// Whether it says of itself that it should never have been.
fn is_an_error(stored: &Stored) -> bool {
    json::parse(stored.payload.as_slice())
        .is_ok_and(|document| Element::root(&document).text_of("status") == Some("entered-in-error"))
}

/// The Device of a reference, or the one that a DeviceMetric belongs to.
async fn device_of(gateway: &Gateway, reference: Option<&str>) -> Result<Option<Document>, store::Error> {
    let Some((kind, id)) = reference.and_then(|reference| reference.split_once('/')) else { return Ok(None) };
    let id = id.split_once('/').map_or(id, |(id, _)| id);
    if kind != "DeviceMetric" {
        return if kind == "Device" { resource(gateway, kind, id).await } else { Ok(None) };
    }
    let Some(metric) = resource(gateway, kind, id).await? else { return Ok(None) };
    let source = Element::root(&metric).get("source").and_then(|source| source.text_of("reference"));
    match source.and_then(|source| source.strip_prefix("Device/")) {
        Some(id) => resource(gateway, "Device", id).await,
        None => Ok(None),
    }
}

async fn resource(gateway: &Gateway, kind: &str, id: &str) -> Result<Option<Document>, store::Error> {
    let stored = gateway.store.read(kind, id).await?.filter(|stored| !stored.deleted);
    Ok(stored.and_then(|stored| json::parse(stored.payload).ok()))
}

/// Of the same versions the same, to one destination: two cannot join what they have by it.
fn key(stored: &[&Stored], names: &Pairwise) -> String {
    let mut hasher = blake3::Hasher::new_keyed(names.key());
    for one in stored {
        hasher.update(one.id.to_string().as_bytes()).update(&one.version.to_le_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}
