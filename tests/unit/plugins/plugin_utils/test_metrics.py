from ansible_collections.beamops.epmd.plugins.plugin_utils._metrics import metrics
def test_x(): assert metrics
