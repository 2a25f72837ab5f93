"""What happens with event triggers ON login at Complete, on the first version that has them: 17."""

from __future__ import annotations

import pytest

from migrations_app.demo.clusters import Cluster
from tests.matrix.conftest import Servers
from tests.postgres import test_login_triggers as newest

# Fixtures and tests that stand there for the newest version.
there, plan, patched = newest.there, newest.plan, newest.patched
test_it_arrives_in_its_state = newest.test_it_arrives_in_its_state
test_one_that_lets_nobody_in = newest.test_one_that_lets_nobody_in_stays_disabled_and_is_told
test_a_login_that_failed_by_chance = newest.test_a_login_that_failed_by_chance_is_not_put_down_to_it
test_a_complete_that_dies = newest.test_a_complete_that_dies_meanwhile_locks_nobody_out_and_is_repeated
test_an_account_that_cannot = newest.test_it_is_not_tried_out_by_an_account_that_cannot_do_so_alone
test_one_of_the_source = newest.test_one_of_the_source_that_refuses_us_is_told_in_its_words


@pytest.fixture
def target_cluster(versions: Servers) -> Cluster:
    """A server of 17."""
    return versions.of("17", "target")
