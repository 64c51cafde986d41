"use strict";
// Pictures and player of each track, and of each view, move together: click or arrow keys seek, a line shows where the sound is.
for (const track of document.querySelectorAll(".track")) {
  const audio = track.querySelector("audio");
  const stage = track.querySelector(".stage");
  if (!stage) continue;
  const head = stage.querySelector(".head");
  const seconds = Number(track.dataset.seconds);

  const show = (at) => {
    head.style.left = `${Math.min(100, (100 * at) / seconds)}%`;
    stage.setAttribute("aria-valuenow", at.toFixed(1));
    stage.setAttribute("aria-valuetext", `${at.toFixed(1)} of ${seconds.toFixed(1)} seconds`);
  };
  if (!audio) continue;
  const seek = (at) => {
    audio.currentTime = Math.max(0, Math.min(seconds, at)); // before anything is loaded, this is where it will begin
    show(audio.currentTime);
  };
  const follow = () => {
    show(audio.currentTime);
    if (!audio.paused) requestAnimationFrame(follow);
  };
  const play = () => audio.play().catch(() => {}); // the error event below says why

  stage.addEventListener("click", (event) => {
    const box = stage.getBoundingClientRect();
    seek((seconds * (event.clientX - box.left)) / box.width);
    play();
  });
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -5, ArrowRight: 5, ArrowDown: -1, ArrowUp: 1 }[event.key];
    if (step) seek(audio.currentTime + step);
    else if (event.key === "Home") seek(0);
    else if (event.key === "End") seek(seconds);
    else if (event.key === " " || event.key === "Enter") audio.paused ? play() : audio.pause();
    else return;
    event.preventDefault();
  });
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    follow();
  });
  for (const name of ["timeupdate", "seeked"]) audio.addEventListener(name, () => show(audio.currentTime));
  audio.addEventListener("error", () => {
    track.querySelector(".silent").hidden = false;
  });
}

// Players without pictures: one sound at a time, and a word where there is none.
for (const audio of document.querySelectorAll(".heard audio")) {
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
  });
  audio.addEventListener("error", () => {
    audio.nextElementSibling.hidden = false;
  });
}

// Tables that are wider than the page scroll by arrow keys too: they can be reached, and have a name.
const reachable = () => {
  for (const wide of document.querySelectorAll(".wide")) {
    if (wide.scrollWidth > wide.clientWidth) {
      wide.tabIndex = 0;
      wide.setAttribute("role", "region");
      wide.setAttribute("aria-label", `table: ${[...wide.querySelectorAll("th")].slice(0, 3).map((head) => head.textContent).join(", ")}`);
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) wide.removeAttribute(name);
    }
  }
};
reachable();
addEventListener("resize", reachable);
