"use strict";

document.getElementById("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = document.getElementById("problem");
  problem.textContent = "";
  try {
    const answer = await fetch("/sign-in/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token: document.getElementById("token").value }),
    });
    if (answer.ok) {
      location.assign("/");
    } else {
      problem.textContent = (await answer.json()).error;
    }
  } catch {
    problem.textContent = "The server does not answer. Try again.";
  }
});
