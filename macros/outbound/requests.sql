{# The calls that trigger one of these actions; in an incremental run, those that were touched. #}
{% macro calls_of(actions) -%}
    select * from {{ ref('int_destination_calls') }}
    where
        action in ({{ quoted_list(actions) }})
        {% if is_incremental() -%}
        and message_id in (select message_id from {{ ref('int_touched_pipeline_calls') }})
        {{- and_between('happened_date', 'int_touched_pipeline_calls', 'happened_date') }}
        {%- endif %}
{%- endmacro %}


{# Why a request is not sent, null if it is: the first of these conditions, as [reason, condition], and Customer.io's
   limits on ids, on the attributes of each of these CTEs and on the whole item. What is over a limit would be dropped
   there without an error. #}
{% macro held_back(conditions, ids=[], attributes=[]) -%}
    case
        when is_switched_off then 'switched_off'
        when is_forgotten then 'forgotten_person'
        {%- for reason, condition in conditions %}
        when {{ condition }} then '{{ reason }}'
        {%- endfor %}
        {%- for id in ids %}
        when {{ byte_length(id) }} > 150 then 'value_too_long'
        {%- endfor %}
        {%- for name in attributes %}
        when {{ name }}.longest_name > 150 or {{ name }}.longest_value > 1000 then 'value_too_long'
        when {{ name }}.member_count > {{ most_attributes() }} then 'too_many_attributes'
        {%- endfor %}
        when {{ byte_length('payload') }} > 32768 then 'item_too_large'
    end
{%- endmacro %}


{# How many attributes Customer.io holds of a person, an object or a relationship, and takes in a call. #}
{% macro most_attributes() -%}
    {{ return(300) }}
{%- endmacro %}


{# The CTEs that make requests of `identified`, with attributes of their own (`own`) and of a relationship (`related`),
   as the CTE `attributes` has them: `payload` is their body, `columns` are what else it reads of `identified`, and
   `conditions` and `ids` as in held_back. The last is `final`. #}
{% macro requests_with_attributes(payload, columns, conditions, ids) -%}
own as (

    select * from attributes
    where part = 'attributes'

),

related as (

    select * from attributes
    where part = 'relationship'

),

written as (

    select
        {{ call_columns('identified') }},
        {{ columns_of('identified', columns + ['person_id_type', 'person_id']) }},
        {{ payload }} as payload
    from identified
    left join own
        on identified.request_id = own.request_id
    left join related
        on identified.request_id = related.request_id

),

final as (

    select
        {{ request_columns('batch', is_event=false, relation='written') }},
        {{ held_back(conditions, ids=ids, attributes=['own', 'related']) }} as held_back_reason
    from written
    left join own
        on written.request_id = own.request_id
    left join related
        on written.request_id = related.request_id

)
{%- endmacro %}


{# The one relationship of a request, in an array: to whom or what, with the attributes of `related`. #}
{% macro relationship_to(identifiers) -%}
    '[' || {{ json_object([['identifiers', identifiers], ['relationship_attributes', 'related.members']]) }} || ']'
{%- endmacro %}


{# The systems of Apple's devices, in lower case, which Customer.io's API takes under one name. #}
{% macro apple_systems() -%}
    {{ return(['ios', 'ipados', 'tvos', 'watchos', 'visionos']) }}
{%- endmacro %}


{# The columns of a call that a request keeps, whatever is made of it. #}
{% macro call_columns(relation='') -%}
    {%- set columns = [
        'request_id', 'message_id', 'action', 'happened_ms', 'happened_at', 'happened_date', 'is_switched_off', 'is_forgotten',
    ] -%}
    {%- for column in columns -%}
        {{ relation ~ '.' if relation }}{{ column }}{{ ',\n        ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{# The columns of a request. #}
{% macro request_columns(endpoint, is_event, relation) -%}
    {{ relation }}.request_id,
        {{ relation }}.message_id,
        {{ relation }}.action,
        {{ relation }}.happened_ms,
        {{ relation }}.happened_at,
        {{ relation }}.happened_date,
        '{{ endpoint }}' as endpoint,
        {{ 'true' if is_event else 'false' }} as is_event,
        {{ relation }}.person_id_type,
        {{ relation }}.person_id,
        {{ relation }}.payload
{%- endmacro %}


{# Text that sorts requests as they happened: by time, then messageId, then action. It is that of a request alone, while
   a number would change with every request that lands late. 14 digits hold every time that landing accepts. #}
{% macro request_order(relation) -%}
    lpad(cast({{ relation }}.happened_ms as {{ dbt.type_string() }}), 14, '0')
        || ' ' || {{ relation }}.message_id || ' ' || {{ relation }}.action
{%- endmacro %}


{# What stands between the places of merges in a path: it sorts before all that a messageId may hold, so that paths sort
   as lists of places do. #}
{% macro path_separator() -%}
    chr(1)
{%- endmacro %}


{# CTEs of which the last, `ended`, has the requests of `relation` that a deletion of this action ended: one that came
   later under the same name, or under that of somebody into whom it had been merged by then. #}
{% macro ended_by(action, relation, keys) -%}
deletions as (

    select
        {{ keys | join(', ') }},
        case when merge_path != '' then merge_path || {{ path_separator() }} else '' end as path_before,
        max(request_order) as last_end
    from {{ relation }}
    where action = '{{ action }}'
    group by {{ keys | join(', ') }}, merge_path

),

places as (

    select
        request_id,
        {{ keys | join(', ') }},
        case when merge_path != '' then merge_path || {{ path_separator() }} else '' end || request_order as path
    from {{ relation }}

),

ended as (

    select distinct places.request_id
    from places
    inner join deletions
        on
            {% for key in keys -%}
            places.{{ key }} = deletions.{{ key }}
            and {% endfor -%}
            left(places.path, length(deletions.path_before)) = deletions.path_before
            and substr(places.path, length(deletions.path_before) + 1) <= deletions.last_end

)
{%- endmacro %}


{# The person of an identifier: who is known by source calls alone, and linked to nobody, has the key that
   int_person_ids would give. #}
{% macro person_key_of(person_ids, identifier) -%}
    coalesce({{ person_ids }}.person_key, md5({{ identifier }}))
{%- endmacro %}
