//! What policies depend on is watched: what is told while a watch fails.

use crate::harness::{Agent, CLUSTER_POLICIES, NAMESPACES, NODES, PODS, eventually, in_namespace, service};
use crate::policies::{UID, attachment, closes, cluster, entry, version, web};
use orknet_cni::protocol::{Answer, Request};

#[test]
fn root_while_a_watch_fails_that_policies_depend_on_none_that_is_new_is_told_as_programmed() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        api.serve_cluster_policies();
        api.put(web(UID, "web"));
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        assert_eq!(agent.ask(&Request::Attach(attachment())).await, Answer::Done);
        let reported = |kind: &str| api.reports().pop().and_then(|report| version(&report.1, kind));
        for (number, path) in [NAMESPACES, CLUSTER_POLICIES, PODS, NODES].into_iter().enumerate() {
            let before = reported("NetworkPolicy");
            api.refused(path);
            api.hide(path);
            for _ in 0..2 {
                // What is asked for once more has been told of.
                eventually("watching fails", || api.refused(path).then_some(())).await;
            }
            api.put(closes("a", "web"));
            let closed = api.version();
            eventually("the policy is in the maps", || entry(&dataplane).filter(|pod| pod.ingress != 0)).await;
            api.put(service("web", &format!("10.96.0.{}", number + 1)));
            let served = api.version();
            eventually("something else is told", || (reported("Service") == Some(served)).then_some(())).await;
            assert_eq!(reported("NetworkPolicy"), before, "{path} is not seen");
            api.withhold(None);
            // Pods and nodes are not listed again: something new is seen of the one, and of the other nothing fails any more.
            if path == PODS {
                api.put(web(UID, "web"));
            }
            eventually("all is seen again", || (reported("NetworkPolicy") == Some(closed)).then_some(())).await;
            api.delete(&closes("a", "web"));
            let opened = api.version();
            eventually("the policy is gone", || (reported("NetworkPolicy") == Some(opened)).then_some(())).await;
        }
    });
}
