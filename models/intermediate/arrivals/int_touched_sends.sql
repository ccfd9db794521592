{{ config(materialized='view') }}

{% set pending_copy_ids = all_of([
    of_pending('copy_id', ref('stg_justai__variants'), 'batch_id'),
    of_pending('copy_id', source('justai', 'justai_variants_removed'), 'batch_id'),
]) %}

with

{{ pending() }},

sends as (

    select * from {{ ref('stg_justai__sends') }}

),

variants as (

    select * from {{ ref('stg_justai__variants') }}

),

removed_variants as (

    select * from {{ source('justai', 'justai_variants_removed') }}

),

pending_removed as (

    select
        batch_id,
        copy_id,
        template_id,
        vars,
        landed_batch_id,
        coalesce({{ timestamp_to_unix('path_hour') }}, -62135596800) as valid_from_timestamp
    from removed_variants
    where batch_id in (select batch_id from pending)

),

pending_copies as (

    select copy_id
    from variants
    where batch_id in (select batch_id from pending)

    union

    select copy_id
    from pending_removed

),

-- for which hours batches brought a variant that is there, or went since
brought as (

    select
        batch_id,
        copy_id,
        valid_from_timestamp
    from variants
    where batch_id in (select batch_id from pending)

    union

    select
        landed_batch_id as batch_id,
        copy_id,
        valid_from_timestamp
    from pending_removed

),

-- what is there now, and what was there when all models had last read it; what a batch took away without bringing
-- another was gone for a while, and a build that broke off may have read that
contents as (

    select
        variants.copy_id,
        variants.valid_from_timestamp,
        variants.template_id,
        variants.vars,
        1 as is_now,
        case when pending.batch_id is null then 1 else 0 end as was_before,
        0 as was_gone
    from variants
    inner join pending_copies
        on
            variants.copy_id = pending_copies.copy_id
            {{- and_between('variants.copy_id', pending_copy_ids, 'copy_id') }}
    left join pending
        on variants.batch_id = pending.batch_id

    union all

    select
        pending_removed.copy_id,
        pending_removed.valid_from_timestamp,
        pending_removed.template_id,
        pending_removed.vars,
        0 as is_now,
        case when pending.batch_id is null then 1 else 0 end as was_before,
        case when brought.batch_id is null then 1 else 0 end as was_gone
    from pending_removed
    left join pending
        on pending_removed.landed_batch_id = pending.batch_id
    left join brought
        on
            pending_removed.copy_id = brought.copy_id
            and pending_removed.valid_from_timestamp = brought.valid_from_timestamp
            and pending_removed.batch_id = brought.batch_id

),

-- an hour is unchanged if the variant was there before, is there now, and has one content throughout, without a gap
hours as (

    select
        copy_id,
        valid_from_timestamp,
        case
            when
                max(is_now) = 1
                and max(was_before) = 1
                and max(was_gone) = 0
                and min(template_id) = max(template_id)
                and min(cast(vars as {{ dbt.type_string() }})) = max(cast(vars as {{ dbt.type_string() }}))
                then 0
            else 1
        end as is_changed
    from contents
    group by copy_id, valid_from_timestamp

),

-- the content of an hour holds until the next hour that has one
spans as (

    select
        copy_id,
        valid_from_timestamp,
        is_changed,
        lead(valid_from_timestamp) over (partition by copy_id order by valid_from_timestamp) as valid_to_timestamp
    from hours

),

changed_spans as (

    select
        copy_id,
        valid_from_timestamp,
        valid_to_timestamp
    from spans
    where is_changed = 1

),

final as (

    select distinct
        sends.event_timestamp,
        sends.copy_id,
        sends.journey_id
    from sends
    inner join changed_spans
        on
            sends.copy_id = changed_spans.copy_id
            {{- and_between('sends.copy_id', pending_copy_ids, 'copy_id') }}
            and sends.event_timestamp >= changed_spans.valid_from_timestamp
            and (
                changed_spans.valid_to_timestamp is null
                or sends.event_timestamp < changed_spans.valid_to_timestamp
            )

)

select * from final
