"""A chat request as a client of another dialect would write it. Where Nexus speaks that dialect to
backends it is Nexus that does so; here is what it never says itself."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def in_responses(chat: Json) -> Json:
    """A chat as a request of the Responses API, every message as items of `input`."""
    items: list[Json] = []
    for message in chat["messages"]:
        if thought := message.get("reasoning_content"):
            told = [{"type": "reasoning_text", "text": thought}]
            items.append({"type": "reasoning", "summary": [], "content": told})
        if message["role"] == "tool":
            told_id = {"call_id": message["tool_call_id"]}
            items.append({"type": "function_call_output", **told_id, "output": message["content"]})
        elif message["content"]:
            items.append({"role": message["role"], "content": _content(message["content"])})
        items += [
            {"type": "function_call", "call_id": call["id"], **call["function"]}
            for call in message.get("tool_calls", ())
        ]
    tools = [{"type": "function", **tool["function"]} for tool in chat.get("tools", ())]
    return {"model": chat["model"], "input": items, "tools": tools}


def _content(content: str | list[Json]) -> str | list[Json]:
    if isinstance(content, str):
        return content
    return [
        {"type": "input_text", "text": part["text"]}
        if part["type"] == "text"
        else {"type": "input_image", "image_url": part["image_url"]["url"]}
        for part in content
    ]


def from_gemini(body: Json) -> list[Json]:
    """What Gemini is told, as the messages of a chat."""
    system = body.get("systemInstruction", {}).get("parts", ())
    messages: list[Json] = [{"role": "system", "content": part["text"]} for part in system]
    for turn in body["contents"]:
        parts: list[Json] = turn["parts"]
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        messages += [
            {"role": "tool", "tool_call_id": result["id"], "content": result["response"]["result"]}
            for result in results
        ]
        if turn["role"] == "model":
            messages.append(_answer(parts))
        elif not results:
            said = [_part(part) for part in parts]
            is_text = [part["type"] for part in said] == ["text"]
            content = said[0]["text"] if is_text else said
            messages.append({"role": "user", "content": content})
    return messages


def _part(part: Json) -> Json:
    if "text" in part:
        return {"type": "text", "text": part["text"]}
    data = part["inlineData"]
    url = f"data:{data['mimeType']};base64,{data['data']}"
    return {"type": "image_url", "image_url": {"url": url}}


def _answer(parts: list[Json]) -> Json:
    texts = [part["text"] for part in parts if "text" in part]
    calls = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": call["args"]},
        }
        for part in parts
        if (call := part.get("functionCall"))
    ]
    said: Json = {"role": "assistant", "content": "".join(texts) or None}
    return {**said, "tool_calls": calls} if calls else said
