"""What a running cluster writes is open to nobody else."""

from tests.cluster.world import World


def test_nothing_of_a_running_cluster_is_open_to_others(world: World) -> None:
    """But for the folder of the devices, which is for users."""
    home = world.place.home
    world.create("private")
    world.attach("private")

    paths = (path for path in (home, *home.rglob("*")) if not path.is_symlink())
    open_ = [path for path in paths if path.lstat().st_mode & 0o077]
    assert [path for path in open_ if path != world.place.links] == []
