//! Throughput of a closed network of queues with N customers and a delay.

/// Most customers that are followed one by one.
const MOST: u32 = 1024;

/// Tasks a second with `customers` at once over `centres`, each with its demand (seconds a task) and servers, and a delay
/// `wait` outside of them.
///
/// Exact mean value analysis (Reiser & Lavenberg 1980; Lazowska et al., *Quantitative System Performance*, ch. 6) gives the
/// throughput where service times vary exponentially; the asymptotic bound is reached where they do not vary at all. Tasks
/// of a stage are alike, but arrive unevenly: the mean of the two is taken. A centre of several servers is one of demand
/// D/m behind a delay of D·(m−1)/m (Seidmann, Schweitzer & Shalev-Oren 1987). Falls back to the bound for huge numbers.
pub fn closed_throughput(customers: f64, centres: &[(f64, f64)], wait: f64) -> f64 {
    let (throughput, bound) = analysed(customers, centres, wait);
    (throughput + bound) / 2.0
}

/// The same where service times vary exponentially, and for customers that queue for nothing while each has a server of its
/// own: those of a process pool, whose tasks come as unevenly as the parent gets to hand them out.
pub fn uneven_throughput(customers: f64, centres: &[(f64, f64)], wait: f64) -> f64 {
    let (throughput, bound) = analysed(customers, centres, wait);
    if centres.iter().all(|centre| customers <= centre.1) { bound } else { throughput }
}

/// Exact mean value analysis, and the asymptotic bound.
fn analysed(customers: f64, centres: &[(f64, f64)], wait: f64) -> (f64, f64) {
    let total: f64 = centres.iter().map(|centre| centre.0.max(0.0)).sum::<f64>() + wait.max(0.0);
    if customers <= 0.0 || total <= 0.0 {
        return (f64::INFINITY, f64::INFINITY);
    }
    let slowest = centres
        .iter()
        .filter(|centre| centre.0 > 0.0)
        .map(|&(demand, servers)| servers.max(f64::MIN_POSITIVE) / demand)
        .fold(f64::INFINITY, f64::min);
    let bound = slowest.min(customers / total);
    let whole = customers.round() as u32;
    if whole > MOST {
        return (bound, bound);
    }
    let split = |&(demand, servers): &(f64, f64)| {
        let servers = servers.max(1.0);
        (demand.max(0.0) / servers, demand.max(0.0) * (servers - 1.0) / servers)
    };
    let delay: f64 = wait.max(0.0) + centres.iter().map(|centre| split(centre).1).sum::<f64>();
    let mut queues = vec![0.0; centres.len()];
    let mut throughput = 0.0;
    for present in 1..=whole.max(1) {
        let residence: Vec<f64> =
            centres.iter().zip(&queues).map(|(centre, queue)| split(centre).0 * (1.0 + queue)).collect();
        throughput = f64::from(present) / (delay + residence.iter().sum::<f64>());
        for (queue, residence) in queues.iter_mut().zip(&residence) {
            *queue = throughput * residence;
        }
    }
    (throughput.min(bound), bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_mean_value_analysis() {
        // Two customers, one centre of demand 1, no delay: always busy.
        assert!((closed_throughput(2.0, &[(1.0, 1.0)], 0.0) - 1.0).abs() < 1e-12);
        // One customer never queues.
        assert!((closed_throughput(1.0, &[(1.0, 1.0), (2.0, 1.0)], 3.0) - 1.0 / 6.0).abs() < 1e-12);
        // Two customers, demand 1, delay 1: MVA gives 2/(1+1.5) = 0.8, the bound is 1.
        assert!((closed_throughput(2.0, &[(1.0, 1.0)], 1.0) - 0.9).abs() < 1e-12);
        assert!((uneven_throughput(2.0, &[(1.0, 1.0)], 1.0) - 0.8).abs() < 1e-12);
        // Two servers for two: nobody queues.
        assert!((uneven_throughput(2.0, &[(1.0, 2.0)], 1.0) - 1.0).abs() < 1e-12);
    }
}
