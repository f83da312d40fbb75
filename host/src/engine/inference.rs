//! Inference of a virtual board's requests: model folders, labelled images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coshift_engine::corrupt::Corruption;
use coshift_engine::images::{Half, ImageSet};
use coshift_engine::model::{self, Model};
use coshift_engine::network::{Exiting, Network, Workspace};
use coshift_engine::resample::Resampler;
use coshift_engine::tensors::FileFault;
use coshift_engine::train::random::Random;
use coshift_shared::policy::{PolicyView, TableView};

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
        "--model {}: its hash is {hash:016x}; no network of the policy has that, or none and the same \
         sub-networks: {known}",
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
    /// There are no images that could be made worse or adapted to.
    #[error(
        "--model {}: published weights, and no images with them: --images, --corrupt and --adapt \
         need some of {side}×{side} pixels with {channels} channel(s)",
        folder.display()
    )]
    NoImages {
        /// The model folder.
        folder: PathBuf,
        /// Height and width of the family's images, pixels.
        side: usize,
        /// Their channels.
        channels: usize,
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
    /// The table's sub-networks.
    sub_networks: Vec<SubNetwork>,
    /// Images at the family's resolution, normalised, in the order they come; without labels the noise
    /// of one request of the largest images.
    images: Vec<f32>,
    /// Classes of the images; none of noise.
    labels: Vec<u8>,
    /// Image that comes next.
    next: usize,
    /// Images of a request that are inferred.
    tiles_run: usize,
    /// The next images, `[tiles_run, image]` as the sub-network takes them, and which they are.
    batch: Vec<f32>,
    places: Vec<usize>,
    adapter: Option<Adapter>,
}

/// A sub-network of a table.
#[derive(Debug)]
struct SubNetwork {
    /// Its index in the model.
    index: usize,
    /// When images leave early.
    exiting: Exiting,
    /// To its resolution, where that is not the family's.
    resampler: Option<Resampler>,
}

impl Models {
    /// Loads a model folder for the network of the policy that names its hash. The images come in an
    /// order drawn by the seed, again and again. Images leave at early exits, where the model has
    /// some, as the policy's row says. Gives the name of the network.
    ///
    /// A network of the policy that names no hash is the model's where its rows are sub-networks of
    /// the model with the same accuracies. Published weights come without images: where none are
    /// named, such a model infers noise ([`Models::infers_noise`]).
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
        // `Loaded::read` has compared it with the weights.
        let hash = model.hash().unwrap_or_default();
        let tables =
            || (0..policy.tables()).filter_map(|index| Some((index, policy.table(index)?)));
        let hash_of = |table: &TableView<'_>| table.sub_network(0).map_or(0, |row| row.model_hash);
        let own = || tables().find(|(_, table)| hash_of(table) == hash);
        let unbound =
            || tables().find(|(_, table)| hash_of(table) == 0 && same_sub_networks(table, &model));
        let Some((index, table)) = own().or_else(unbound) else {
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
                if let Some(sub) = model.sub_networks.get(place) {
                    return Ok(SubNetwork {
                        index: place,
                        exiting: Exiting::of_row(row.exit_threshold),
                        resampler: Resampler::of(&model.family, &sub.net),
                    });
                }
                Err(ModelFault::NoSubNetwork {
                    folder: folder.to_owned(),
                    have: network.len(),
                    network: table.name().into(),
                    id: row.id,
                })
            })
            .collect::<Result<_, _>>()?;
        let (images, labels) = match input.images {
            None if model.published.is_some() && !ImageSet::is_in(folder, Half::Test) => {
                if input.corruption.is_some() || input.adapt.is_some() {
                    let (side, channels) = (model.family.resolution, model.family.image_channels);
                    return Err(ModelFault::NoImages { folder: folder.to_owned(), side, channels });
                }
                (noise(&network, input), Vec::new())
            }
            from => labelled(&network, from.unwrap_or(folder), input)?,
        };
        let adapter = material
            .map(|(material, count)| {
                Adapter::start(material, Arc::clone(&network), count, input.seed)
            })
            .transpose()
            .map_err(ModelFault::Thread)?;
        // No call allocates.
        let batch_len = largest_image(&network);
        self.space.reserve(&network, input.tiles_run);
        self.loaded.push(Loaded {
            table: index,
            network,
            sub_networks,
            images,
            labels,
            next: 0,
            tiles_run: input.tiles_run,
            batch: Vec::with_capacity(input.tiles_run * batch_len),
            places: Vec::with_capacity(input.tiles_run),
            adapter,
        });
        Ok(table.name().into())
    }

    /// Whether the model of a table infers noise, so that no accuracy is counted.
    #[must_use]
    pub fn infers_noise(&self, table: u8) -> bool {
        self.loaded.iter().any(|loaded| loaded.table == table && loaded.labels.is_empty())
    }

    /// Whether a model is there for a table of the policy.
    #[must_use]
    pub fn serves(&self, table: u8) -> bool {
        self.loaded.iter().any(|loaded| loaded.table == table)
    }
}

/// Whether every row of a table is a sub-network of the model, equally accurate.
fn same_sub_networks(table: &TableView<'_>, model: &Model) -> bool {
    (0..table.len()).filter_map(|row| table.sub_network(row)).all(|row| {
        let known = usize::try_from(row.id).ok().and_then(|id| model.sub_networks.get(id));
        known.is_some_and(|sub| (sub.accuracy_pct * 100.0).round() as u16 == row.accuracy_bp)
    })
}

/// Values of one image of the sub-network that takes the largest ones.
fn largest_image(network: &Network) -> usize {
    (0..network.len()).filter_map(|index| network.image_len_of(index)).max().unwrap_or(0)
}

/// The noise of one request of the largest images, of mean 0 and deviation 1 as normalised images are.
fn noise(network: &Network, input: &Input<'_>) -> Vec<f32> {
    let mut random = Random(input.seed);
    (0..input.tiles_run * largest_image(network)).map(|_| random.normal()).collect()
}

/// Images of a folder at the family's resolution, normalised, with their classes, in the order drawn by the seed.
fn labelled(
    network: &Network,
    folder: &Path,
    input: &Input<'_>,
) -> Result<(Vec<f32>, Vec<u8>), ModelFault> {
    let mut set = ImageSet::read_for(folder, Half::Test, network.layout().family())?;
    if let Some(corruption) = input.corruption {
        corruption.apply(&mut set, input.seed);
    }
    let mut order: Vec<usize> = (0..set.len()).collect();
    Random(input.seed).shuffle(&mut order);
    let images = order.iter().flat_map(|place| set.normalised(*place, 1)).collect();
    Ok((images, order.iter().map(|place| set.labels[*place]).collect()))
}

impl Infer for Models {
    fn infer(&mut self, job: &Job) -> Result<Judged, String> {
        let Some(loaded) = self.loaded.iter_mut().find(|loaded| loaded.table == job.table) else {
            return Ok(Judged::default());
        };
        let sub_network = loaded.sub_networks.get(usize::from(job.sub_network));
        let &SubNetwork { index, exiting, ref resampler } =
            sub_network.ok_or_else(|| format!("no sub-network {}", job.sub_network))?;
        let adapted = (loaded.adapter.as_mut())
            .map_or(Adapted::default(), |adapter| adapter.renew(&mut loaded.network));
        if loaded.labels.is_empty() {
            let length = loaded.tiles_run * loaded.network.image_len_of(index).unwrap_or_default();
            let noise = &loaded.images[..length];
            (loaded.network.run_exiting(index, noise, exiting, &mut self.space))
                .map_err(|fault| fault.to_string())?;
            return Ok(Judged { adapted, ..Judged::default() });
        }
        let size = loaded.network.image_len();
        let classes = loaded.network.layout().family().classes;
        loaded.batch.clear();
        loaded.places.clear();
        for _ in 0..loaded.tiles_run {
            let image = loaded.next;
            let pixels = &loaded.images[image * size..][..size];
            match resampler {
                Some(resampler) => resampler.append(pixels, &mut loaded.batch),
                None => loaded.batch.extend_from_slice(pixels),
            }
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
            let images = &loaded.images;
            adapter.see(loaded.places.iter().map(|place| &images[place * size..][..size]));
        }
        let count = |images: usize| u32::try_from(images).unwrap_or(u32::MAX);
        Ok(Judged { images: count(loaded.places.len()), right, early: count(early), adapted })
    }
}
