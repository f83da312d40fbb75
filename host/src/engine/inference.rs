//! Inference of a virtual board's requests: model folders, labelled images.

use std::path::{Path, PathBuf};

use coshift_engine::images::{Half, ImageSet};
use coshift_engine::network::{Network, Workspace};
use coshift_engine::tensors::FileFault;
use coshift_engine::train::random::Random;
use coshift_shared::policy::PolicyView;

use super::{Infer, Job, Judged};

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelFault {
    /// A file of the model or of the images is missing or wrong.
    #[error(transparent)]
    File(#[from] FileFault),
    /// No network of the policy is this model's.
    #[error(
        "--model {}: its hash is {hash:016x}; no network of the policy has that: {known}",
        folder.display()
    )]
    NoNetwork {
        /// The model folder.
        folder: PathBuf,
        /// Hash of its weights.
        hash: u64,
        /// The policy's networks with their hashes.
        known: String,
    },
    /// The policy names a sub-network that the model does not have.
    #[error(
        "--model {}: it has {have} sub-networks; the policy's network {network} names number {id}",
        folder.display()
    )]
    NoSubNetwork {
        /// The model folder.
        folder: PathBuf,
        /// Sub-networks of the model.
        have: usize,
        /// Network of the policy.
        network: String,
        /// Sub-network it names.
        id: u32,
    },
}

/// Models for the networks of a policy, with the images to infer.
#[derive(Debug, Default)]
pub struct Models {
    loaded: Vec<Loaded>,
    space: Workspace,
}

/// One model, serving one table of the policy.
#[derive(Debug)]
struct Loaded {
    table: u8,
    network: Network,
    /// Index in the model of each of the table's sub-networks.
    sub_networks: Vec<usize>,
    /// Images as the network takes them, in the order they come.
    images: Vec<f32>,
    labels: Vec<u8>,
    /// Image that comes next.
    next: usize,
    /// Images of a request that are inferred.
    tiles_run: usize,
    batch: Vec<f32>,
}

impl Models {
    /// Loads a model folder for the network of the policy that names its hash. The images come from
    /// `images`, else from the model folder, in an order drawn by `seed`, again and again;
    /// `tiles_run` of them are inferred per request. Gives the name of the network.
    ///
    /// # Errors
    /// [`ModelFault`] names the file and what is wrong.
    pub fn load(
        &mut self,
        policy: &PolicyView<'_>,
        folder: &Path,
        images: Option<&Path>,
        tiles_run: usize,
        seed: u64,
    ) -> Result<String, ModelFault> {
        let (network, model) = Network::load(folder)?;
        // `Network::load` has compared it with the weights.
        let hash = model.hash().unwrap_or_default();
        let tables =
            || (0..policy.tables()).filter_map(|index| Some((index, policy.table(index)?)));
        let hash_of = |table: &coshift_shared::policy::TableView<'_>| {
            table.sub_network(0).map_or(0, |row| row.model_hash)
        };
        let Some((index, table)) = tables().find(|(_, table)| hash_of(table) == hash) else {
            let known: Vec<_> = tables()
                .map(|(_, table)| format!("{} {:016x}", table.name(), hash_of(&table)))
                .collect();
            let folder = folder.to_owned();
            return Err(ModelFault::NoNetwork { folder, hash, known: known.join(", ") });
        };
        let sub_networks = (0..table.len())
            .filter_map(|row| table.sub_network(row))
            .map(|row| {
                let place = usize::try_from(row.id).unwrap_or(usize::MAX);
                if place < network.len() {
                    return Ok(place);
                }
                Err(ModelFault::NoSubNetwork {
                    folder: folder.to_owned(),
                    have: network.len(),
                    network: table.name().into(),
                    id: row.id,
                })
            })
            .collect::<Result<_, _>>()?;
        let set = ImageSet::read_for(images.unwrap_or(folder), Half::Test, &model.family)?;
        let mut order: Vec<usize> = (0..set.len()).collect();
        Random(seed).shuffle(&mut order);
        self.loaded.push(Loaded {
            table: index,
            network,
            sub_networks,
            images: order.iter().flat_map(|place| set.normalised(*place, 1)).collect(),
            labels: order.iter().map(|place| set.labels[*place]).collect(),
            next: 0,
            tiles_run,
            batch: Vec::new(),
        });
        Ok(table.name().into())
    }

    /// Whether a model is there for a table of the policy.
    #[must_use]
    pub fn serves(&self, table: u8) -> bool {
        self.loaded.iter().any(|loaded| loaded.table == table)
    }
}

impl Infer for Models {
    fn infer(&mut self, job: &Job) -> Result<Judged, String> {
        let Some(loaded) = self.loaded.iter_mut().find(|loaded| loaded.table == job.table) else {
            return Ok(Judged::default());
        };
        let place = loaded.sub_networks.get(usize::from(job.sub_network));
        let place = *place.ok_or_else(|| format!("no sub-network {}", job.sub_network))?;
        let size = loaded.network.image_len();
        let classes = loaded.network.layout().family().classes;
        loaded.batch.clear();
        let mut labels = Vec::with_capacity(loaded.tiles_run);
        for _ in 0..loaded.tiles_run {
            let image = loaded.next;
            loaded.batch.extend_from_slice(&loaded.images[image * size..][..size]);
            labels.push(loaded.labels[image]);
            loaded.next = (image + 1) % loaded.labels.len();
        }
        let logits = loaded
            .network
            .run(place, &loaded.batch, &mut self.space)
            .map_err(|fault| fault.to_string())?;
        let mut right = 0;
        for (row, label) in logits.chunks_exact(classes).zip(&labels) {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            right += u32::from(best.is_some_and(|(class, _)| class == usize::from(*label)));
        }
        Ok(Judged { images: u32::try_from(labels.len()).unwrap_or(u32::MAX), right })
    }
}
