"""A job's page tells what happened, line by line, the newest last."""

import pytest
from django.test import Client

from tests.console.conftest import PART
from volumes.jobs import queue, wakeup
from volumes.models import Job, JobLine


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no broker here."""
    monkeypatch.setattr(wakeup, "wake", lambda job_id: None)


@pytest.fixture
def job(well: None, console: Client) -> Job:
    console.post("/admin/console/do/evacuate-storage/", {"on": 1})
    return Job.objects.get(kind=Job.Kind.EVACUATE)


def _story(client: Client, job: Job) -> str:
    answer = client.get(f"/admin/console/jobs/{job.pk}/live/", headers=PART)
    return answer.content.decode()


def test_the_story_is_told_in_its_order(job: Job, console: Client) -> None:
    queue.start(job, "copying")
    queue.finish(job, 5, "the node <b>burned</b>")

    page = _story(console, job)

    told = [page.index(text) for text in ("asked for by root", "copying: order 1", "failed: the")]
    assert told == sorted(told)
    assert "<b>burned" not in page


def test_of_a_long_story_the_latest_lines_are_shown(job: Job, console: Client) -> None:
    JobLine.objects.bulk_create(JobLine(job=job, text=f"chapter {n}.") for n in range(1000))

    page = _story(console, job)

    assert page.count("chapter ") == 200
    assert "chapter 800." in page
    assert page.index("chapter 998.") < page.index("chapter 999.")
    assert "the latest 200 lines" in page


def test_a_job_without_a_story_has_a_page(well: None, console: Client) -> None:
    assert (
        "Nothing has been written down yet."
        in console.get("/admin/volumes/job/1/change/").content.decode()
    )
