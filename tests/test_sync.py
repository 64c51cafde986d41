"""A campaign on a real server: what is made, what is changed, and what is never touched."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from annotation.campaign import Campaign, Overlap, Predictions
from annotation.interface import interface
from annotation.question import Question
from annotation.records import Project
from annotation.studio import Studio
from annotation.sync import Applied, Conflict, apply, plan
from annotation.task import Task, campaign_line
from annotation.wanted import Wanted, columns
from tests.studio import RunningStudio

pytestmark = pytest.mark.slow
OLD, NEW = "MusiCNN@0000000000000000", "MusiCNN@1111111111111111"


def campaign(name: str, choices: tuple[str, ...] = ("calm", "happy", "sad"), **more: Any) -> Campaign:
    mood = Question.model_validate({"name": "mood", "kind": "tag.mood", "text": "Which moods?", "choices": choices, "multiple": True})
    guesses = Predictions(table="musicnn", map={"mood": {"mellow": "calm"}})
    return Campaign(**{"name": name, "title": "Moods of clips", "questions": (mood,), "predictions": guesses, **more})


def tasks(count: int, first: int = 0) -> list[Task]:
    return [
        Task(f"{n:020x}-00c0ffee", f"{n:020d}", f"{n:020x}", 0.1 * n, 30.0, f"http://clips.test/{n}.flac", f"Clip {n} – 音 🎵")
        for n in range(first, first + count)
    ]


def chosen(*moods: str) -> list[dict[str, Any]]:
    return [{"from_name": "mood", "to_name": "audio", "type": "choices", "value": {"choices": list(moods)}}]


def guesses(asked: list[Task], version: str = OLD, mood: str = "calm") -> dict[str, dict[str, Any]]:
    return {task.ext_id: {"model_version": version, "score": 0.25, "result": chosen(mood)} for task in asked}


def wanted(of: Campaign, asked: list[Task], version: str = OLD, **more: Any) -> Wanted:
    return Wanted(**{"campaign": of, "screen": interface(of), "tasks": asked, "predictions": guesses(asked, version), "quiet": 0, **more})


def check_once(server: Studio, project: Project, want: Wanted) -> None:
    """Each clip is one task, and has one prediction: that of the model."""
    there = {each.ext_id: each for each in server.index(project.id)}
    assert len(there) == len(server.index(project.id))
    assert {task.ext_id for task in want.tasks} <= there.keys()
    pairs = Counter((guess.task, guess.model_version) for guess in server.predictions(project.id))
    expected = Counter((there[ext_id].id, want.version) for ext_id in want.guesses)
    assert pairs == expected
    assert project.model_version == want.version


@pytest.fixture(scope="module")
def server(studio: RunningStudio) -> Studio:
    return Studio(studio.url, studio.token, patience=20, pause=0.02)


@pytest.fixture
def name(server: Studio) -> Iterator[str]:
    """A campaign's name; its projects are removed."""
    name = f"sync-{uuid4().hex[:8]}"
    yield name
    for project in server.projects(campaign_line(name)):
        server.delete_project(project.id)


def test_a_plan_says_what_would_be_made_and_makes_nothing(server: Studio, name: str) -> None:
    made = plan(server, wanted(campaign(name), tasks(3)))
    assert made.changes
    assert not server.projects(campaign_line(name))
    assert str(made).splitlines()[1:] == [
        "  + project 'Moods of clips'",
        "  + 3 tasks, 3 with a prediction: Clip 0 – 音 🎵, Clip 1 – 音 🎵, Clip 2 – 音 🎵",
    ]


def test_a_second_apply_does_nothing(server: Studio, name: str) -> None:
    want = wanted(campaign(name), tasks(7))
    first = apply(server, want)
    assert first.done == {"project made": 1, "tasks imported": 7, "predictions sent": 7} | (
        {"settings changed": 1} if "settings changed" in first.done else {}
    )
    check_once(server, first.project, want)
    assert {each.ext_id: each.data for each in server.index(first.project.id)} == {task.ext_id: columns(task) for task in want.tasks}
    second = apply(server, want)
    assert (second.done, second.project.key) == ({}, first.project.key)
    assert str(plan(server, want)).endswith("nothing to do: 7 tasks are as they should be")


def test_clips_that_come_later_are_added_and_those_that_left_stay(server: Studio, name: str) -> None:
    apply(server, wanted(campaign(name), tasks(4)))
    later = apply(server, wanted(campaign(name), tasks(4, first=2)))
    assert later.done == {"tasks imported": 2, "predictions sent": 2}
    assert later.left == ["2 tasks whose clips have left the campaign stay, 0 of them with answers"]
    assert len(server.index(later.project.id)) == 6


def test_a_new_model_replaces_the_old_ones_predictions_and_no_answer(server: Studio, name: str) -> None:
    before = wanted(campaign(name), tasks(3))
    project = apply(server, before).project
    task = server.index(project.id)[1].id
    guess = next(each for each in server.predictions(project.id) if each.task == task)
    said = server.annotate(task, chosen("sad"), parent_prediction=guess.id, lead_time=3.5)
    after = replace(before, predictions=guesses(tasks(3), NEW, "happy"))
    assert "  - 3 predictions of MusiCNN@0000000000000000, replaced" in str(plan(server, after)).splitlines()
    replaced = apply(server, after)
    check_once(server, replaced.project, after)
    assert [(each["id"], each["result"]) for each in server.tasks(project.id, [task])[0]["annotations"]] == [(said["id"], chosen("sad"))]
    assert apply(server, after).done == {}


def test_what_the_same_model_now_says_otherwise_is_replaced(server: Studio, name: str) -> None:
    apply(server, wanted(campaign(name), tasks(2)))
    after = wanted(campaign(name), tasks(2), predictions=guesses(tasks(1), OLD) | guesses(tasks(1, first=1), OLD, "sad"))
    done = apply(server, after)
    assert done.done == {"predictions sent": 1, "predictions removed": 1}
    assert [each.result for each in server.predictions(done.project.id)] == [chosen("calm"), chosen("sad")]


def test_predictions_that_are_replaced_wait_while_people_are_at_work(server: Studio, name: str) -> None:
    """Whoever has a task open sends the prediction's id along, and the server refuses the answer once that is gone."""
    before = wanted(campaign(name), tasks(2), quiet=30)
    project = apply(server, before).project
    first, second = server.index(project.id)
    open_now = next(each for each in server.predictions(project.id) if each.task == second.id)
    server.annotate(first.id, chosen("sad"))
    after = replace(before, predictions=guesses(tasks(2), NEW))
    done = apply(server, after)
    assert done.project.model_version == NEW
    assert done.left[0].startswith("2 predictions that are replaced stay while people are at work")
    assert server.annotate(second.id, chosen("calm"), parent_prediction=open_now.id)["parent_prediction"] == open_now.id
    assert not plan(server, after).changes
    check_once(server, apply(server, replace(after, quiet=0)).project, after)


def test_a_blind_campaigns_predictions_are_not_on_the_server(server: Studio, name: str) -> None:
    project = apply(server, wanted(campaign(name), tasks(2))).project
    blind = campaign(name, predictions=Predictions(table="musicnn", map={"mood": {"mellow": "calm"}}, blind=True))
    done = apply(server, wanted(blind, tasks(2)))
    assert (server.predictions(project.id), done.project.show_predictions) == ([], False)


def test_a_project_is_found_whatever_people_call_it_and_keeps_the_name(server: Studio, name: str) -> None:
    want = wanted(campaign(name), tasks(2))
    project = apply(server, want).project
    server.update_project(project.id, title="Stimmungen ♫", description=f"our words\n  {campaign_line(name)}  \nmore words")
    again = apply(server, want)
    assert (again.project.id, again.project.title, again.done) == (project.id, "Stimmungen ♫", {})
    assert again.left == ["the project is called 'Stimmungen ♫' on the server, and stays so"]
    (said,) = plan(server, replace(wanted(campaign(name), tasks(3)), title="Moods of clips")).left
    assert said == "somebody has renamed the project: it is called 'Stimmungen ♫' on the server, and stays so"


def test_a_new_title_reaches_a_project_that_nobody_renamed(server: Studio, name: str) -> None:
    project = apply(server, wanted(campaign(name), tasks(2))).project
    want = wanted(campaign(name, title="Moods 🎻 anew"), tasks(2), title="Moods of clips")
    made = plan(server, want)
    assert (made.settings, made.left) == ({"title": ("Moods of clips", "Moods 🎻 anew")}, [])
    assert "~ title: 'Moods of clips' becomes 'Moods 🎻 anew'" in str(made)
    assert apply(server, want).project.title == "Moods 🎻 anew"
    assert apply(server, replace(want, title="Moods 🎻 anew")).done == {}
    server.update_project(project.id, title="Our own")
    again = apply(server, replace(want, title="Moods 🎻 anew"))
    assert (again.project.title, again.done) == ("Our own", {})
    assert again.left == ["somebody has renamed the project: it is called 'Our own' on the server, and stays so"]


def test_known_answers_that_only_some_hear_are_told(server: Studio, name: str) -> None:
    everybody = [tasks(1)[0].ext_id]
    (said,) = plan(server, wanted(campaign(name), tasks(2), everybody=everybody, remarks=[])).left
    assert said == "clips with known answers are heard by 1, as all others are: overlap.team does not say how many everybody is"
    team = campaign(name, overlap=Overlap(team=3))
    assert plan(server, wanted(team, tasks(2), everybody=everybody, remarks=["1 clips are left out"])).left == ["1 clips are left out"]


def test_a_project_that_somebody_deleted_is_named_and_made_anew_only_when_asked(server: Studio, name: str) -> None:
    want = wanted(campaign(name), tasks(2))
    project = apply(server, want).project
    server.delete_project(project.id)
    with pytest.raises(Conflict, match=f"project {project.id} of {name} is gone: somebody deleted it.*--recreate"):
        apply(server, replace(want, project=project.key))
    assert not server.projects(campaign_line(name))
    assert apply(server, replace(want, project=project.key, recreate=True)).done["tasks imported"] == 2


def test_a_task_that_somebody_deleted_is_made_again(server: Studio, name: str) -> None:
    want = wanted(campaign(name), tasks(3))
    project = apply(server, want).project
    server.delete_tasks(project.id, [server.index(project.id)[1].id])
    assert apply(server, want).done == {"tasks imported": 1, "predictions sent": 1}
    check_once(server, server.read_project(project.id), want)


def test_empty_copies_go_and_copies_that_people_worked_on_stay(server: Studio, name: str) -> None:
    want = wanted(campaign(name), tasks(3), predictions={})
    project = apply(server, want).project
    first, second, third = server.index(project.id)
    copies = server.import_tasks(project.id, [{"data": dict(each.data)} for each in (first, first, second, third)])
    server.annotate(copies[1], chosen("calm"))
    server.annotate(second.id, [], was_cancelled=True)
    server._door.write("POST", f"api/tasks/{copies[2]}/drafts", "beginning", {"result": chosen("sad"), "lead_time": 1})
    done = apply(server, want)
    assert {each.id for each in server.index(project.id)} == {copies[1], second.id, copies[2], third.id}
    assert done.done == {"copies of tasks removed": 3}
    both = f"tasks {second.id} and {copies[2]}"
    assert done.left == [f"{second.ext_id} is there 2 times with answers or drafts ({both}): pull reads all; delete what should go"]
    assert not plan(server, want).changes


def test_predictions_that_are_there_twice_become_one(server: Studio, name: str) -> None:
    want = wanted(campaign(name), tasks(2))
    project = apply(server, want).project
    first, second = server.index(project.id)
    server.import_predictions(project.id, [{"task": first.id, **want.guesses[first.ext_id]}])
    latest = max(server.predictions(project.id), key=lambda each: each.id)
    server.annotate(first.id, chosen("calm"), parent_prediction=latest.id)
    assert apply(server, want).done == {"predictions removed": 1}
    assert latest.id in {each.id for each in server.predictions(project.id)}  # it is what somebody began with
    check_once(server, server.read_project(project.id), want)
    assert second.id != first.id


def test_a_choice_that_answers_have_cannot_be_taken_away(server: Studio, name: str, studio: RunningStudio) -> None:
    project = apply(server, wanted(campaign(name), tasks(3))).project
    first, second, _ = server.index(project.id)
    person = studio.account("carla")
    said = Studio(studio.url, person.token).annotate(first.id, chosen("calm", "sad"))
    fewer = wanted(campaign(name, ("calm", "happy")), tasks(3))
    with pytest.raises(Conflict) as conflict:
        apply(server, fewer)
    assert str(conflict.value).splitlines() == [
        "the new screen lacks mood: sad, which 1 answers have; keep it in the campaign's file, or make a new campaign:",
        f"task {first.id} ({first.ext_id}), annotation {said['id']} by {person.email}: mood sad",
    ]
    assert server.read_project(project.id).label_config == interface(campaign(name))
    # What nobody said may go, and more may come.
    more = wanted(campaign(name, ("calm", "sad", "angry")), tasks(3))
    assert apply(server, more).done == {"settings changed": 1}
    assert 'value="angry"' in server.read_project(project.id).label_config
    server._door.write("POST", f"api/tasks/{second.id}/drafts", "beginning", {"result": chosen("angry"), "lead_time": 1})
    with pytest.raises(Conflict, match=f"task {second.id} .*draft .*mood angry"):
        apply(server, wanted(campaign(name), tasks(3)))


def test_a_screen_that_was_edited_in_the_web_page_is_put_right_unless_answers_would_suffer(server: Studio, name: str) -> None:
    want = wanted(campaign(name), tasks(2))
    project = apply(server, want).project
    server.update_project(project.id, label_config=interface(campaign(name, ("calm", "happy", "sad", "odd"))))
    assert "  ~ labelling screen: " in str(plan(server, want))
    apply(server, want)
    assert server.read_project(project.id).label_config == want.screen


def test_shared_clips_are_heard_by_the_team_also_after_the_others_change(server: Studio, name: str) -> None:
    def overlaps(annotators: int) -> Counter[int]:
        shared = campaign(name, overlap=Overlap(annotators=annotators, shared=0.3, team=5))
        done = apply(server, wanted(shared, tasks(10), everybody=[tasks(10)[0].ext_id]))
        index = server.index(done.project.id)
        assert index[0].overlap == 5
        assert not plan(server, wanted(shared, tasks(10), everybody=[tasks(10)[0].ext_id])).changes
        return Counter(each.overlap for each in index)

    before = overlaps(1)
    assert 2 <= before[5] <= 6
    assert overlaps(2) == {5: before[5], 2: before[1]}


def test_links_that_are_still_good_are_left(server: Studio, name: str) -> None:
    want = wanted(campaign(name), tasks(2))
    apply(server, want)
    moved = replace(want, tasks=[replace(task, audio=f"{task.audio}?until=2030") for task in want.tasks])
    assert not plan(server, replace(moved, same_audio=lambda there, new: new.startswith(there))).changes
    assert plan(server, moved).changes
    assert apply(server, moved).done == {"tasks changed": 2}
    assert [each.data["audio"] for each in server.index(apply(server, moved).project.id)] == [task.audio for task in moved.tasks]


def test_two_applies_at_once_leave_one_project_one_task_and_one_prediction_for_each_clip(
    server: Studio, name: str, studio: RunningStudio
) -> None:
    want = wanted(campaign(name), tasks(40))
    ended: list[Applied | Exception] = []

    def work() -> None:
        try:
            ended.append(apply(Studio(server.url, studio.token, 20, 0.02), want))
        except Exception as error:  # noqa: BLE001 - looked at below
            ended.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert all(isinstance(each, Applied) for each in ended), ended
    last = apply(server, want)
    assert len(server.projects(campaign_line(name))) == 1
    check_once(server, last.project, want)
    # Two deletions of projects at once, and the server gives new accounts no tokens any more.
    assert studio.account(f"later-{uuid4().hex[:8]}").token


def test_tasks_of_others_in_the_project_are_left_alone(server: Studio, name: str) -> None:
    want = wanted(campaign(name), tasks(2))
    project = apply(server, want).project
    stranger = server.import_tasks(project.id, [{"data": {"audio": "http://clips.test/x.flac"}}])
    assert apply(server, want).left == [f"1 tasks have no ext_id and are not of this campaign (task {stranger[0]} for one)"]
    assert len(server.index(project.id)) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda task: replace(task, title="\0"), "has a NUL character, which the database refuses"),
        (lambda task: replace(task, start=float("nan")), "this cannot be sent"),
        (lambda task: replace(task, title="\ud800"), "this cannot be sent"),
        (lambda task: replace(task, data={"audio": "x"}), "data has a column 'audio', which every task has; call it otherwise"),
        (lambda task: replace(task, audio=" "), "a task needs ext_id and audio"),
    ],
)
def test_a_task_that_the_server_would_mangle_is_named_before_anything_is_sent(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wanted(campaign("never-sent"), [change(task) for task in tasks(1)])


def test_predictions_are_checked_before_anything_is_sent() -> None:
    asked = tasks(2)
    bad = guesses(asked[:1]) | {
        asked[1].ext_id: {"model_version": OLD, "score": 7.5, "result": chosen("grumpy")},
        "nobody": guesses(asked)[asked[0].ext_id],
    }
    with pytest.raises(ValueError, match="nobody: a prediction for no task") as error:
        wanted(campaign("never-sent"), asked, predictions=bad)
    assert f"{asked[1].ext_id}: score: not between 0 and 1, got 7.5" in str(error.value)
    assert "grumpy" in str(error.value)
    with pytest.raises(ValueError, match="a campaign starts from one model"):
        wanted(campaign("never-sent"), asked, predictions=guesses(asked[:1], OLD) | guesses(asked[1:], NEW))
    with pytest.raises(ValueError, match="2 tasks of this name"):
        wanted(campaign("never-sent"), [asked[0], asked[0]])
