//! Laws: formulas with their source, one a file, on plain numbers. They know units and nothing of poolpick.

mod asymptotic;
mod batch_means;
mod change_point;
mod closed_network;
mod little;
mod mean_ratio;
mod queue_demand;
mod student;
mod usl;
mod wilson;
mod winsorized;

pub use asymptotic::{saturation_point, thread_of_children_bound};
pub use batch_means::{BatchRatio, ratio_of_batches, spread_of_runs};
pub use change_point::{Segment, change_points};
pub use closed_network::{closed_throughput, uneven_throughput};
pub use little::present;
pub use mean_ratio::{mean_ratio, quantile};
pub use queue_demand::demand_of_queue;
pub use student::two_sided_95;
pub use usl::{NoFit, Scalability, fit_scalability};
pub use wilson::wilson;
pub use winsorized::winsorized_mean;
