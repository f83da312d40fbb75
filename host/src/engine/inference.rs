//! Inference of a virtual board's requests: model folders, labelled images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coshift_engine::corrupt::Corruption;
use coshift_engine::images::{Half, ImageSet};
use coshift_engine::model;
use coshift_engine::network::{Exiting, Network, Workspace};
use coshift_engine::tensors::FileFault;
use coshift_engine::train::random::Random;
use coshift_shared::policy::PolicyView;

use super::adapting::{Adapter, Material};
use super::{Adapted, Infer, Job, Judged};

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
    /// A sub-network takes other images than its family's largest.
    #[error(
        "--model {}: sub-network {index} takes images of {values} values, expected {expected}: one \
         size for all",
        folder.display()
    )]
    Size {
        /// The model folder.
        folder: PathBuf,
        /// The sub-network.
        index: usize,
        /// Values of its images.
        values: usize,
        /// Values of the family's images.
        expected: usize,
    },
    /// The thread that adapts does not start.
    #[error("--adapt: cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// What models are given.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Folder with the images; `None` = the model's own.
    pub images: Option<&'a Path>,
    /// How the images are made worse.
    pub corruption: Option<Corruption>,
    /// Images inferred per request.
    pub tiles_run: usize,
    /// Images that the model is adapted from in the background, within [`super::ADAPTATION_IMAGES`];
    /// `None` = it stays as it is.
    pub adapt: Option<usize>,
    /// Of the images' order, of their corruption and of the sample that adaptation takes.
    pub seed: u64,
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
    network: Arc<Network>,
    /// Of each of the table's sub-networks: its index in the model, and when images leave early.
    sub_networks: Vec<(usize, Exiting)>,
    /// Images as the network takes them, in the order they come.
    images: Vec<f32>,
    labels: Vec<u8>,
    /// Image that comes next.
    next: usize,
    /// Images of a request that are inferred.
    tiles_run: usize,
    /// The next images, `[tiles_run, image]`, and which they are.
    batch: Vec<f32>,
    places: Vec<usize>,
    adapter: Option<Adapter>,
}

impl Models {
    /// Loads a model folder for the network of the policy that names its hash. The images come in an
    /// order drawn by the seed, again and again. Images leave at early exits, where the model has
    /// some, as the policy's row says. Gives the name of the network.
    ///
    /// # Errors
    /// [`ModelFault`] names the file and what is wrong.
    pub fn load(
        &mut self,
        policy: &PolicyView<'_>,
        folder: &Path,
        input: &Input<'_>,
    ) -> Result<String, ModelFault> {
        let model::Loaded { model, layout, values, nets } = model::Loaded::read(folder)?;
        // Kept only to adapt: the network holds its own, packed.
        let material = input.adapt.map(|count| {
            let (layout, values, nets) = (layout.clone(), values.clone(), nets.clone());
            (Material { layout, values, nets }, count)
        });
        let network = Network::new(layout, values, &nets).map_err(|fault| FileFault::Content {
            path: folder.join(model::FILE).display().to_string(),
            why: fault.to_string(),
        })?;
        let network = Arc::new(network);
        let expected = network.image_len();
        for index in 0..network.len() {
            let values = network.image_len_of(index).unwrap_or_default();
            if values != expected {
                let folder = folder.to_owned();
                return Err(ModelFault::Size { folder, index, values, expected });
            }
        }
        // `Loaded::read` has compared it with the weights.
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
                    return Ok((place, Exiting::of_row(row.exit_threshold)));
                }
                Err(ModelFault::NoSubNetwork {
                    folder: folder.to_owned(),
                    have: network.len(),
                    network: table.name().into(),
                    id: row.id,
                })
            })
            .collect::<Result<_, _>>()?;
        let from = input.images.unwrap_or(folder);
        let mut set = ImageSet::read_for(from, Half::Test, &model.family)?;
        if let Some(corruption) = input.corruption {
            corruption.apply(&mut set, input.seed);
        }
        let mut order: Vec<usize> = (0..set.len()).collect();
        Random(input.seed).shuffle(&mut order);
        let adapter = material
            .map(|(material, count)| {
                Adapter::start(material, Arc::clone(&network), count, input.seed)
            })
            .transpose()
            .map_err(ModelFault::Thread)?;
        // No call allocates.
        self.space.reserve(&network, input.tiles_run);
        self.loaded.push(Loaded {
            table: index,
            network,
            sub_networks,
            images: order.iter().flat_map(|place| set.normalised(*place, 1)).collect(),
            labels: order.iter().map(|place| set.labels[*place]).collect(),
            next: 0,
            tiles_run: input.tiles_run,
            batch: Vec::with_capacity(input.tiles_run * expected),
            places: Vec::with_capacity(input.tiles_run),
            adapter,
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
        let sub_network = loaded.sub_networks.get(usize::from(job.sub_network));
        let (index, exiting) =
            *sub_network.ok_or_else(|| format!("no sub-network {}", job.sub_network))?;
        let adapted = (loaded.adapter.as_mut())
            .map_or(Adapted::default(), |adapter| adapter.renew(&mut loaded.network));
        let size = loaded.network.image_len();
        let classes = loaded.network.layout().family().classes;
        loaded.batch.clear();
        loaded.places.clear();
        for _ in 0..loaded.tiles_run {
            let image = loaded.next;
            loaded.batch.extend_from_slice(&loaded.images[image * size..][..size]);
            loaded.places.push(image);
            loaded.next = (image + 1) % loaded.labels.len();
        }
        let logits = loaded
            .network
            .run_exiting(index, &loaded.batch, exiting, &mut self.space)
            .map_err(|fault| fault.to_string())?;
        let mut right = 0;
        for (row, place) in logits.chunks_exact(classes).zip(&loaded.places) {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            let label = usize::from(loaded.labels[*place]);
            right += u32::from(best.is_some_and(|(class, _)| class == label));
        }
        let early = self.space.exits().flatten().count();
        if let Some(adapter) = &mut loaded.adapter {
            adapter.see(&loaded.batch);
        }
        let count = |images: usize| u32::try_from(images).unwrap_or(u32::MAX);
        Ok(Judged { images: count(loaded.places.len()), right, early: count(early), adapted })
    }
}
